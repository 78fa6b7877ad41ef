"""What is declared, and not so: in slurm.conf, in site.yaml, or of a node's kind. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence

from slurmkit.hostlist import compress, expand
from slurmkit.record import Record
from slurmkit.site.models import NodeType, Site
from slurmkit.slurm.inventory import DeclaredNode
from slurmkit.survey.facts import NodeFacts, Shape, compute_nics
from slurmkit.survey.kinds import Kind
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile
from slurmkit.topology.verify import verify
from slurmkit.units import parse_size_mib

# RealMemory a little below what a node has is usual: the system needs some.
_MUCH_LESS = 0.8


class Mismatch(Record):
    """One thing that is declared one way and found another.

    Attributes:
        hosts: where, as a host list.
        what: gpus, memory, cores, or a NIC's name and port.
        declared: the value, and who says so: ``8 (slurm.conf)``.
        found: what the node shows.
        severity: error when Slurm would refuse or drain the node, or jobs would miss something.
    """

    hosts: str
    what: str
    declared: str
    found: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.hosts}: {self.what}: declared {self.declared}, found {self.found}"


_Found = tuple[str, str, str, str]  # what, declared, found, severity


def mismatches(
    declared: Sequence[DeclaredNode],
    facts: Mapping[str, NodeFacts],
    source: str = "slurm.conf",
    *,
    overrides: bool = False,
) -> list[Mismatch]:
    """Return where nodes are not as they are declared; nodes that were not seen are left out.

    Args:
        declared: the nodes.
        facts: what nodes said of themselves.
        source: who declares it.
        overrides: Slurm believes it whatever the nodes say (SlurmdParameters=config_overrides), so
            that more cores or memory than there are drain no node.
    """
    rows: dict[_Found, list[str]] = {}
    for node in declared:
        if node.name in facts:
            for *row, severity in _of_node(node, facts[node.name], source):
                weight = "note" if overrides and row[0] != "gpus" else severity
                rows.setdefault((row[0], row[1], row[2], weight), []).append(node.name)
    return _grouped(rows)


def odd_nodes(kinds: Sequence[Kind], facts: Mapping[str, NodeFacts]) -> list[Mismatch]:
    """Return where nodes differ from their kind in what Slurm does not know: NICs, ports, links."""
    rows: dict[_Found, list[str]] = {}
    for kind in kinds:
        model = load_profile(kind.profile) if kind.profile else kind.model
        if model is None:
            continue
        for host in kind.hosts:
            topology = facts[host].topology if host in facts else None
            if topology is None:
                continue
            for row in _of_topology(kind, model, topology):
                rows.setdefault(row, []).append(host)
    return _grouped(rows)


def nodes_of_site(site: Site) -> list[DeclaredNode]:
    """Return the nodes that site.yaml declares, as slurm.conf would; 0 where it says nothing."""
    return [
        _declared(host, kind)
        for kind in site.node_types.values()
        if kind.nodes
        for host in expand(kind.nodes)
    ]


def _declared(host: str, kind: NodeType) -> DeclaredNode:
    return DeclaredNode(
        name=host,
        sockets=kind.sockets or 0,
        cores=kind.cores or 0,
        threads=kind.threads or 0,
        cpus=kind.cpus or 0,
        memory_mib=parse_size_mib(kind.memory) if kind.memory is not None else 0,
        gpus=kind.gpus,
        gpu_type=kind.gpu_type,
        features=tuple(kind.features),
    )


def _grouped(rows: Mapping[_Found, list[str]]) -> list[Mismatch]:
    found = [Mismatch(compress(hosts), *row) for row, hosts in rows.items()]
    return sorted(found, key=lambda item: item.severity)


def _of_node(node: DeclaredNode, facts: NodeFacts, source: str) -> Iterator[_Found]:
    shape = facts.shape
    yield from _cores(node, shape, source)
    if shape.memory_mib and node.memory_mib:
        row = ("memory", f"{node.memory_mib} MiB ({source})", f"{shape.memory_mib} MiB")
        if shape.memory_mib < node.memory_mib:
            yield (*row, "error")
        elif node.memory_mib < _MUCH_LESS * shape.memory_mib:
            yield (*row, "note")
    found = facts.num_gpus
    if found is not None and found != node.gpus:
        severity = "error" if found < node.gpus else "note"
        yield "gpus", f"{node.gpus} ({source})", str(found), severity


def _cores(node: DeclaredNode, shape: Shape, source: str) -> Iterator[_Found]:
    if not shape.cpus:
        return
    if not node.cores:
        if node.cpus and node.cpus > shape.cpus:
            yield "cpus", f"{node.cpus} ({source})", str(shape.cpus), "error"
        return
    wanted = (node.sockets or 1, node.cores, node.threads or 1)
    found = (shape.sockets, shape.cores, shape.threads)
    if wanted == found:
        return
    # Slurm compares the products alone (its validate_node_specs): "Low socket*core*thread count".
    severity = "error" if math.prod(wanted) > math.prod(found) else "note"
    yield "sockets x cores x threads", f"{_times(wanted)} ({source})", _times(found), severity


def _times(counts: tuple[int, int, int]) -> str:
    return " x ".join(map(str, counts))


def _of_topology(kind: Kind, model: Topology, topology: Topology) -> Iterator[_Found]:
    shifted = len(topology.gpus) != kind.gpus
    if shifted and kind.declared is None:  # else it is compared with what Slurm declares
        yield "gpus", f"{kind.gpus} (most of {kind.name})", str(len(topology.gpus)), "error"
    if kind.profile:
        for item in verify(topology, model):
            # With a GPU missing, all behind it have another's number; the count says it all.
            counted = item.key == "gpus.count" or (shifted and item.key.startswith("gpus."))
            if item.severity == "error" and not counted:
                yield item.key, f"{item.expected} (profile {kind.profile})", item.found, "error"
        return
    wanted, found = (len(compute_nics(one)) for one in (model, topology))
    if wanted != found:
        yield "compute NICs", f"{wanted} (most of {kind.name})", str(found), "error"
    for nic in compute_nics(topology):
        for port in nic.ports:
            if port.state not in ("ACTIVE", "UNKNOWN"):
                name = f"nics.{nic.name}.port{port.number}.state"
                yield name, "ACTIVE (compute NIC)", port.state, "error"
