"""Nodes that a survey has seen, for tests: of a DGX H100, whole and broken."""

from dataclasses import replace

from slurmkit.slurm.inventory import DeclaredNode
from slurmkit.survey.facts import NodeFacts, Shape
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile

DGX = Shape(2, 56, 2, 2_000_000)
DECLARED = DeclaredNode(
    "n1", 2, 56, 2, 224, 1_900_000, 8, "h100", ("gpu",), "IDLE", ("gpu",)
)  # fmt: skip


def dgx(host: str, num_gpus: int = 8) -> Topology:
    node = load_profile("dgx-h100")
    ports = tuple(
        nic.replace(ports=tuple(port.replace(state="ACTIVE") for port in nic.ports))
        for nic in node.nics
    )
    return node.replace(host=host, source="sysfs", gpus=node.gpus[:num_gpus], nics=ports)


def facts(hosts: str, num_gpus: int = 8) -> dict[str, NodeFacts]:
    return {host: NodeFacts(host, DGX, dgx(host, num_gpus)) for host in hosts.split()}


def declared(hosts: str, **changes: object) -> list[DeclaredNode]:
    return [replace(DECLARED, name=host, **changes) for host in hosts.split()]
