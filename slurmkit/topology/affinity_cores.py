"""Which cores and memory a rank has: whole cores, split evenly and disjoint within a NUMA node.

CPU numbers come from the kernel's own lists. Nothing here assumes that a NUMA node's CPUs are one
range, that it has any, or that the second half of the numbers are the siblings of the first.
"""

from itertools import pairwise

from slurmkit.record import Record
from slurmkit.topology.affinity_values import Request, infeasible
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.model import Gpu, NumaNode, Topology


class Cores(Record):
    """The CPUs of one rank, the NUMA nodes they are on, and what is not as promised."""

    cpus: frozenset[int]
    nodes: tuple[int, ...]
    notes: tuple[str, ...] = ()


class _Home(Record):
    """The NUMA nodes that a rank takes cores of; `choose_one` when any one of them does."""

    nodes: tuple[int, ...]
    choose_one: bool = False
    notes: tuple[str, ...] = ()


class _Supply(Record):
    """Free cores by NUMA node (each the CPUs of one core that may be used), and the request."""

    topology: Topology
    request: Request
    cores: dict[int, list[tuple[int, ...]]]


def cores_of_ranks(
    topology: Topology, request: Request, gpus: list[tuple[Gpu, ...]]
) -> list[Cores]:
    """Return the cores of each rank; none under the policy none.

    Raises:
        AffinityError: the CPUs that are allowed do not suffice near the GPU of a rank.
    """
    if request.policy == "none":
        return [Cores(frozenset(), ()) for _ in gpus]
    supply = _Supply(topology, request, _free_cores(topology, request))
    if not any(supply.cores.values()):
        online = format_cpulist(topology.cpus_online)
        allowed = online if request.allowed_cpus is None else format_cpulist(request.allowed_cpus)
        raise infeasible(
            topology.host, 0, f"CPUs of {online}", f"CPUs {allowed or 'none'}{_reserved(supply)}"
        )
    homes = _homes(supply, gpus)
    settled = _settle(supply, homes)
    wanting: dict[int, list[int]] = {}
    for rank, nodes in enumerate(settled):
        for node in nodes:
            wanting.setdefault(node, []).append(rank)
    cpus: list[set[int]] = [set() for _ in gpus]
    for node, ranks in sorted(wanting.items()):
        for rank, share in zip(ranks, _split(supply, node, ranks), strict=True):
            cpus[rank].update(share)
    return [
        Cores(frozenset(chosen), nodes, home.notes)
        for chosen, nodes, home in zip(cpus, settled, homes, strict=True)
    ]


def memory_of_rank(topology: Topology, request: Request, cores: Cores) -> tuple[int, ...]:
    """Return the NUMA nodes for the rank's memory; () when its policy is to be left alone.

    A node without memory of its own stands for the nearest one that has both memory and CPUs: the
    memory-only nodes of a GB200 are the GPUs' own.

    Raises:
        AffinityError: under the memory policy bind, when the step may use none of them.
    """
    if request.memory == "none" or request.policy == "none" or not topology.numa:
        return ()
    allowed = request.allowed_mems
    usable = {
        node.index
        for node in topology.numa
        if node.cpus and node.memory_mib != 0 and (allowed is None or node.index in allowed)
    }
    found: set[int] = set()
    for index in cores.nodes:
        found.update(_nearest(topology, index, usable) if usable else ())
    if not found and request.memory == "bind":
        raise infeasible(
            topology.host,
            None,
            f"memory of NUMA node {format_cpulist(cores.nodes)}",
            f"memory nodes {format_cpulist(allowed or ()) or 'none'}",
        )
    return tuple(sorted(found))


def _numa(topology: Topology) -> tuple[NumaNode, ...]:
    """Return the NUMA nodes; all CPUs as one node where the source tells of none."""
    return topology.numa or (NumaNode(0, topology.cpus_online),)


def _free_cores(topology: Topology, request: Request) -> dict[int, list[tuple[int, ...]]]:
    allowed = topology.cpus_online
    if request.allowed_cpus is not None:
        allowed &= request.allowed_cpus
    group_of = {cpu: group for group in topology.smt for cpu in group}
    free: dict[int, list[tuple[int, ...]]] = {}
    for node in _numa(topology):
        groups = {group_of.get(cpu, (cpu,)) for cpu in node.cpus & topology.cpus_online}
        usable = []
        for group in sorted(groups)[request.reserved_cores :]:
            threads = tuple(cpu for cpu in group if cpu in allowed and cpu in node.cpus)
            if threads:
                usable.append(threads[:1] if request.smt == "avoid" else threads)
        free[node.index] = usable
    return free


def _homes(supply: _Supply, gpus: list[tuple[Gpu, ...]]) -> list[_Home]:
    if supply.request.policy == "spread":
        return _spread(supply, len(gpus))
    if not any(gpus):
        return _compact(supply, len(gpus))
    return [_beside_gpus(supply, rank, own) for rank, own in enumerate(gpus)]


def _spread(supply: _Supply, num_ranks: int) -> list[_Home]:
    nodes = [index for index, cores in sorted(supply.cores.items()) if cores]
    return [_Home((nodes[rank % len(nodes)],)) for rank in range(num_ranks)]


def _compact(supply: _Supply, num_ranks: int) -> list[_Home]:
    """Return homes of ranks without GPUs: neighbours stay together, and none crosses needlessly.

    With fewer ranks than NUMA nodes a rank gets several whole nodes; with more, a node's ranks are
    as many as its share of the cores.
    """
    nodes = [index for index, cores in sorted(supply.cores.items()) if cores]
    if num_ranks <= len(nodes):
        cuts = [rank * len(nodes) // num_ranks for rank in range(num_ranks + 1)]
        return [_Home(tuple(nodes[a:b])) for a, b in pairwise(cuts)]
    counts = dict.fromkeys(nodes, 1)
    for _ in range(num_ranks - len(nodes)):
        # The node whose cores would be shared by fewest gets the next rank; ties go to the first.
        roomiest = max(
            nodes, key=lambda node: (len(supply.cores[node]) / (counts[node] + 1), -node)
        )
        counts[roomiest] += 1
    return [_Home((node,)) for node in nodes for _ in range(counts[node])]


def _beside_gpus(supply: _Supply, rank: int, gpus: tuple[Gpu, ...]) -> _Home:
    """Return the home of a rank with GPUs: their NUMA nodes."""
    places = {gpu.numa for gpu in gpus}
    numa = _numa(supply.topology)
    with_cpus = {node.index for node in numa if node.cpus}
    if None in places or not places <= {node.index for node in numa}:
        free = tuple(index for index in sorted(with_cpus) if supply.cores[index])
        if len(with_cpus) == 1:
            return _Home(free)
        lost = next(gpu for gpu in gpus if gpu.numa not in with_cpus)
        note = (
            f"the NUMA node of GPU {lost.index} ({lost.pci or 'address unknown'}) is unknown: "
            "its rank got the cores that fewest others share"
        )
        return _Home(free, choose_one=True, notes=(note,))
    known = sorted(place for place in places if place is not None)
    if len(known) > 1 and all(place in with_cpus for place in known):
        for place in known:
            _require_free(supply, rank, [place])
        return _Home(tuple(known))
    nearest = sorted(
        {near for place in known for near in _nearest(supply.topology, place, with_cpus)}
    )
    free = tuple(index for index in nearest if supply.cores[index])
    if not free:
        _require_free(supply, rank, nearest)
    return _Home(free, choose_one=len(free) > 1)


def _require_free(supply: _Supply, rank: int, nodes: list[int]) -> None:
    if any(supply.cores[index] for index in nodes):
        return
    wanted = {cpu for node in _numa(supply.topology) if node.index in nodes for cpu in node.cpus}
    allowed = supply.request.allowed_cpus
    found = supply.topology.cpus_online if allowed is None else allowed
    raise infeasible(
        supply.topology.host,
        rank,
        f"cores of NUMA node {format_cpulist(nodes)} (CPUs {format_cpulist(wanted)})",
        f"CPUs {format_cpulist(found)}{_reserved(supply)}",
        "Ask for whole nodes, or for cores beside the GPUs (--cpus-per-gpu with gres.conf Cores=).",
    )


def _nearest(topology: Topology, place: int, candidates: set[int]) -> list[int]:
    """Return the node itself when it is a candidate, else the candidates nearest to it."""
    if place in candidates:
        return [place]
    node = topology.numa_node(place)
    if node is None or len(node.distances) != len(topology.numa):
        return sorted(candidates)
    away = {
        other.index: far
        for other, far in zip(topology.numa, node.distances, strict=True)
        if other.index in candidates
    }
    return sorted(index for index, far in away.items() if far == min(away.values()))


def _settle(supply: _Supply, homes: list[_Home]) -> list[tuple[int, ...]]:
    """Return each rank's nodes after every free choice went to where fewest share the cores."""
    load = dict.fromkeys(supply.cores, 0)
    for home in homes:
        if not home.choose_one:
            for node in home.nodes:
                load[node] += 1
    settled = []
    for home in homes:
        nodes = home.nodes
        if home.choose_one:
            best = min(nodes, key=lambda node: ((load[node] + 1) / len(supply.cores[node]), node))
            load[best] += 1
            nodes = (best,)
        settled.append(nodes)
    return settled


def _split(supply: _Supply, node: int, ranks: list[int]) -> "Iterator[list[int]]":
    """Yield each rank's CPUs of one node: neighbouring cores, and counts that differ by one."""
    cores = supply.cores[node]
    if len(cores) < len(ranks):
        raise infeasible(
            supply.topology.host,
            ranks[len(cores)],
            f"a core of NUMA node {node} for each of {len(ranks)} ranks",
            f"{len(cores)} (CPUs {format_cpulist(cpu for core in cores for cpu in core) or 'none'})"
            f"{_reserved(supply)}",
            "Start fewer ranks on the node, or give the step more cores beside these GPUs.",
        )
    cuts = [
        position * (len(cores) // len(ranks)) + min(position, len(cores) % len(ranks))
        for position in range(len(ranks) + 1)
    ]
    for start, end in pairwise(cuts):
        yield [cpu for core in cores[start:end] for cpu in core]


def _reserved(supply: _Supply) -> str:
    count = supply.request.reserved_cores
    return f", {count} cores of each NUMA node being reserved" if count else ""


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
