"""What a node said of itself: ``slurmd -C``, and the devices that its kernel shows."""

import json
import re
from collections.abc import Mapping

from slurmkit.errors import UsageError
from slurmkit.record import Record
from slurmkit.slurm.cluster import gpus_of_gres
from slurmkit.topology.export_json import from_json
from slurmkit.topology.model import Nic, Topology

_PAIR = re.compile(r"(\w+)=(\S+)")


class Shape(Record):
    """Sockets, cores per socket, threads per core and memory of a node; 0 is unknown."""

    sockets: int = 0
    cores: int = 0
    threads: int = 0
    memory_mib: int = 0

    @property
    def num_cores(self) -> int:
        """All cores of the node."""
        return self.sockets * self.cores

    @property
    def cpus(self) -> int:
        """All threads of the node."""
        return self.sockets * self.cores * self.threads


class NodeFacts(Record):
    """One node, as it is.

    Attributes:
        shape: its processors and memory.
        topology: its GPUs and NICs; None when it could not say.
        lldp: JSON of lldpctl; "" without.
        slurmd_gpus: GPUs that ``slurmd -C`` found by itself (24.11 and later); None when it does
            not say.
        notes: what it could not say, and why, one sentence each.
    """

    host: str
    shape: Shape = Shape()
    topology: Topology | None = None
    lldp: str = ""
    notes: tuple[str, ...] = ()
    slurmd_gpus: int | None = None

    @property
    def compute_nics(self) -> tuple[Nic, ...]:
        """Its NICs that are for collectives; () when nothing tells."""
        return () if self.topology is None else compute_nics(self.topology)

    @property
    def num_gpus(self) -> int | None:
        """GPUs that it shows; None when nothing tells."""
        return self.slurmd_gpus if self.topology is None else len(self.topology.gpus)


def compute_nics(topology: Topology) -> tuple[Nic, ...]:
    """Return the NICs that are for collectives, whether their ports are up or not."""
    return tuple(nic for nic in topology.nics if nic.role == "compute")


def read_slurmd_c(text: str) -> Shape | None:
    """Return what ``slurmd -C`` found; None when it printed none, or nothing that makes sense.

    Where hwloc cannot read a machine (a container, a virtual machine), slurmd counts NUMA nodes as
    boards and prints SocketsPerBoard=0; such a line is worth nothing but its memory.
    """
    line = next((row for row in text.splitlines() if row.startswith("NodeName=")), None)
    if line is None:
        return None
    words: dict[str, str] = dict(_PAIR.findall(line))
    memory = _number(words, "RealMemory")
    shape = Shape(
        sockets=_number(words, "Boards", 1) * _number(words, "SocketsPerBoard"),
        cores=_number(words, "CoresPerSocket"),
        threads=_number(words, "ThreadsPerCore"),
        memory_mib=memory,
    )
    if shape.cpus == 0 or shape.cpus != _number(words, "CPUs"):
        return Shape(memory_mib=memory)
    return shape


def gpus_of_slurmd_c(text: str) -> int | None:
    """Return the GPUs that ``slurmd -C`` found; None when it does not say: 22.05 never does."""
    match = re.search(r"^NodeName=.* Gres=(\S+)", text, re.MULTILINE)
    return gpus_of_gres(match[1])[0] if match else None


def _number(words: Mapping[str, str], key: str, default: int = 0) -> int:
    value = words.get(key, "")
    return int(value) if value.isdigit() else default


def shape_of_topology(topology: Topology) -> Shape:
    """Return sockets and cores as the kernel shows them; a NUMA node with CPUs counts as a socket.

    That is right for what is sold as GPU nodes in their usual setting (NPS1, SNC off), and what
    Slurm calls a socket where it is not (SlurmdParameters=l3cache_as_socket aside).
    """
    sockets = sum(1 for node in topology.numa if node.cpus)
    groups = topology.smt or tuple((cpu,) for cpu in sorted(topology.cpus_online))
    threads = max((len(group) for group in groups), default=0)
    if not sockets or len(groups) % sockets:
        return Shape()
    memory = sum(node.memory_mib or 0 for node in topology.numa)
    return Shape(sockets, len(groups) // sockets, threads, memory)


def read_node(host: str, slurmd: str, topology: str, lldp: str = "") -> NodeFacts:
    """Return what a node's programs printed.

    Args:
        host: Slurm's name of the node.
        slurmd: what ``slurmd -C`` printed; "" when it did not run.
        topology: JSON of ``slurmkit topo show --json``; "" when it did not run.
        lldp: JSON of ``lldpctl -f json0``; "" when it did not run.
    """
    notes = []
    found = None
    if topology.strip():
        try:
            found = from_json(json.loads(topology))
        except (ValueError, TypeError, KeyError, UsageError) as error:
            notes.append(f"its topology cannot be read: {error}")
    else:
        notes.append("it shows no topology: slurmkit did not run there")
    shape = read_slurmd_c(slurmd)
    if shape is None:
        notes.append("slurmd -C says nothing there")
    elif not shape.cpus:
        notes.append("slurmd -C counts no sockets there")
    shape = shape or Shape()
    if not shape.cpus and found is not None:
        seen = shape_of_topology(found)
        shape = seen.replace(memory_mib=shape.memory_mib or seen.memory_mib)
    return NodeFacts(host, shape, found, lldp, tuple(notes), gpus_of_slurmd_c(slurmd))
