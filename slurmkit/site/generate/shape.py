"""Lines about nodes and partitions, and what a node type's topology profile adds to it. Pure."""

from dataclasses import dataclass

from slurmkit.errors import UsageError
from slurmkit.hostlist import compress, expand
from slurmkit.site import elastic
from slurmkit.site.models import NodeType, Partition, Site
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile, profile_names
from slurmkit.units import format_slurm_time, parse_duration_s, parse_size_mib


@dataclass(frozen=True)
class Shape:
    """A node type as Slurm counts it.

    Attributes:
        name: its name in site.yaml.
        nodes: its hosts, as a host list.
        sockets: sockets of a node.
        cores: cores per socket.
        threads: hardware threads per core.
        memory_mib: memory that jobs may have.
        gpus: GPUs of a node.
        gpu_type: their GRES type; empty for untyped.
        features: words for --constraint.
        cpus: what jobs may have of the threads, where that is not all.
        topology: its profile; None where site.yaml names none.
    """

    name: str
    nodes: str
    sockets: int
    cores: int
    threads: int
    memory_mib: int
    gpus: int
    gpu_type: str
    features: tuple[str, ...]
    cpus: int | None
    topology: Topology | None

    @property
    def num_nodes(self) -> int:
        """How many nodes there are."""
        return len(expand(self.nodes))

    @property
    def num_cpus(self) -> int:
        """CPUs of a node that jobs may have."""
        return self.cpus or self.sockets * self.cores * self.threads

    @property
    def gres(self) -> str:
        """The value of Gres=; empty where there is no GPU."""
        kind = f":{self.gpu_type}" if self.gpu_type else ""
        return f"gpu{kind}:{self.gpus}" if self.gpus else ""

    def line(self, nodes: str, state: str = "") -> str:
        """Return the NodeName line of some of the nodes."""
        words = [
            f"NodeName={nodes}",
            *([f"CPUs={self.cpus}"] if self.cpus else []),
            f"Sockets={self.sockets} CoresPerSocket={self.cores} ThreadsPerCore={self.threads}",
            f"RealMemory={self.memory_mib}",
            *([f"Gres={self.gres}"] if self.gres else []),
            *([f"Feature={','.join(self.features)}"] if self.features else []),
            f"State={state or 'UNKNOWN'}",
        ]
        return " ".join(words)


def shapes(site: Site) -> dict[str, Shape]:
    """Return every node type that has nodes.

    Raises:
        UsageError: site.yaml leaves out what Slurm must know of them.
    """
    found = {name: _shape(name, kind) for name, kind in site.node_types.items() if kind.nodes}
    if not found:
        raise UsageError(
            "site.yaml names no nodes, and Slurm's files are about nodes",
            hint="Say node_types.NAME.nodes, such as dgx[01-32], or run slurmkit site init.",
        )
    _each_node_once(found)
    return found


def _each_node_once(found: dict[str, Shape]) -> None:
    owner: dict[str, str] = {}
    for name, shape in found.items():
        for host in expand(shape.nodes):
            if host in owner:
                raise UsageError(
                    f"{host} stands under node_types.{owner[host]} and node_types.{name}"
                    if owner[host] != name
                    else f"{host} stands twice in node_types.{name}.nodes",
                    hint="Slurm takes each node once.",
                )
            owner[host] = name


def _shape(name: str, kind: NodeType) -> Shape:
    topology = load_profile(kind.topology) if kind.topology in profile_names() else None
    sockets, cores, threads = _counts(name, kind, topology)
    total = sockets * cores * threads
    if kind.memory is None:
        raise _missing(name, "memory", "Slurm shares memory out, so it must know how much there is")
    if topology is not None and kind.gpus > len(topology.gpus):
        raise UsageError(
            f"node_types.{name}.gpus is {kind.gpus}, and a {kind.topology} has"
            f" {len(topology.gpus)} GPUs"
        )
    if kind.cpus is not None and kind.cpus > total:
        raise UsageError(
            f"node_types.{name}.cpus is {kind.cpus}, and {sockets} sockets with {cores} cores of"
            f" {threads} threads have {total}"
        )
    return Shape(
        name=name,
        nodes=kind.nodes or "",
        sockets=sockets,
        cores=cores,
        threads=threads,
        memory_mib=parse_size_mib(kind.memory),
        gpus=kind.gpus,
        gpu_type=kind.gpu_type,
        features=tuple(kind.features),
        cpus=kind.cpus if kind.cpus not in (None, total) else None,
        topology=topology,
    )


def _counts(name: str, kind: NodeType, topology: Topology | None) -> tuple[int, int, int]:
    """Return sockets, cores per socket and threads per core."""
    if topology is not None:
        sockets = kind.sockets or sum(1 for node in topology.numa if node.cpus)
        threads = max(len(core) for core in topology.smt) if topology.smt else 1
        cores = len(topology.cpus_online) // (sockets * threads)
        return sockets, kind.cores or cores, kind.threads or threads
    threads = kind.threads or 1
    if kind.cores is not None:
        return kind.sockets or 1, kind.cores, threads
    if kind.cpus is None:
        raise _missing(name, "cores", "or cpus, or topology with the name of a profile")
    sockets = kind.sockets or 1
    return sockets, max(1, kind.cpus // (sockets * threads)), threads


def _missing(name: str, key: str, why: str) -> UsageError:
    return UsageError(
        f"node_types.{name}.{key} is missing: {why}",
        hint=f"slurmd -C prints it on a node of type {name}.",
    )


def node_lines(site: Site, known: dict[str, Shape]) -> list[str]:
    """Return the NodeName lines, each kind with a comment before it."""
    lines = []
    for shape in known.values():
        gpus = f", {shape.gpus} GPUs each" if shape.gpus else ""
        lines.append(f"# {shape.num_nodes} x {shape.name}{gpus}")
        by_state: dict[str, list[str]] = {}
        for host in expand(shape.nodes):
            by_state.setdefault(elastic.node_state(site, host), []).append(host)
        for state, hosts in by_state.items():
            nodes = shape.nodes if len(by_state) == 1 else compress(hosts)
            lines.append(shape.line(nodes, state))
    return lines


def partitions(site: Site) -> dict[str, Partition]:
    """Return the partitions by name; one of all nodes where site.yaml has none."""
    return site.partitions or {"batch": Partition(default=True)}


def partition_lines(site: Site, known: dict[str, Shape]) -> list[str]:
    """Return the PartitionName lines."""
    return [_partition(site, name, part, known) for name, part in partitions(site).items()]


def _partition(site: Site, name: str, partition: Partition, known: dict[str, Shape]) -> str:
    kinds = kinds_of(name, partition, known)
    words = [
        f"PartitionName={name}",
        f"Nodes={partition.nodes or ','.join(kind.nodes for kind in kinds)}",
    ]
    if partition.default or site.default_partition == name:
        words.append("Default=YES")
    default_s, most_s = _seconds(partition.default_time), _seconds(partition.max_time)
    if default_s is None and (default_s := _seconds(site.default_time)) is not None:
        # What holds for the whole site may be longer than a short partition allows.
        default_s = min(default_s, most_s or default_s)
    if default_s is not None:
        words.append(f"DefaultTime={format_slurm_time(default_s)}")
    words.append(f"MaxTime={format_slurm_time(most_s)}")
    words += _defaults(kinds)
    return " ".join([*words, "State=UP"])


def kinds_of(name: str, partition: Partition, known: dict[str, Shape]) -> list[Shape]:
    """Return the node types that a partition's nodes are of.

    Raises:
        UsageError: it is of nodes that are none of the site.
    """
    kinds = list(known.values())
    if partition.node_type is not None:
        if partition.node_type not in known:
            raise _missing(partition.node_type, "nodes", f"partition {name} is made of them")
        kinds = [known[partition.node_type]]
    if partition.nodes is None:
        return kinds
    own = {host: kind for kind in kinds for host in expand(kind.nodes)}
    hosts = expand(partition.nodes)
    if stray := [host for host in hosts if host not in own]:
        among = f"node_types.{partition.node_type}" if partition.node_type else "any node type"
        raise UsageError(f"partitions.{name}.nodes has {stray[0]}, which is not among {among}")
    names = {own[host].name for host in hosts}
    return [kind for kind in kinds if kind.name in names]


def _defaults(kinds: list[Shape]) -> list[str]:
    """Return what jobs get that ask for GPUs or CPUs and say nothing of the rest: their share."""
    words = [f"DefMemPerCPU={min(kind.memory_mib // kind.num_cpus for kind in kinds)}"]
    if all(kind.gpus for kind in kinds):
        per_gpu = min(kind.memory_mib // kind.gpus for kind in kinds)
        cpus = min(kind.num_cpus // kind.gpus for kind in kinds)
        words = [f"DefCpuPerGPU={max(1, cpus)}", f"DefMemPerGPU={per_gpu}"]
    return words


def _seconds(value: str | int | None) -> int | None:
    return None if value is None else parse_duration_s(value)
