"""Random nodes and requests for the planner's laws."""

import random

from slurmkit.topology.affinity import Request
from slurmkit.topology.model import Gpu, Nic, NumaNode, Port, Topology

_ROLES = ("compute", "compute", "compute", "storage", "management", "unknown")


def random_node(seed: int) -> Topology:
    """Return a node with any numbering of CPUs, SMT or not, odd NUMA nodes, GPUs and NICs."""
    chosen = random.Random(seed)
    num_cores, threads = chosen.randint(1, 48), chosen.choice((1, 1, 2, 2, 4))
    cpus = list(range(num_cores * threads))
    if chosen.random() < 0.3:
        cpus = sorted(chosen.sample(range(2 * len(cpus)), len(cpus)))  # some are offline
    if chosen.random() < 0.4:
        chosen.shuffle(cpus)
    cores = [tuple(sorted(cpus[i::num_cores])) for i in range(num_cores)]
    num_nodes = chosen.randint(1, min(6, num_cores))
    members: list[set[int]] = [set() for _ in range(num_nodes)]
    for position, core in enumerate(cores):
        members[position % num_nodes].update(core)
    numbers = sorted(chosen.sample(range(40), num_nodes + 2))
    numa = [NumaNode(numbers[i], frozenset(group), 1024) for i, group in enumerate(members)]
    numa += [NumaNode(number, frozenset(), 1024) for number in numbers[num_nodes:]]  # memory only
    if chosen.random() < 0.5:
        numa = [
            node.replace(distances=tuple(chosen.randint(10, 40) for _ in numa)) for node in numa
        ]
    places: list[int | None] = [node.index for node in numa]
    if chosen.random() < 0.3:
        places.append(None)
    roots = [f"pci{index:04x}:00" for index in range(chosen.randint(1, 6))]
    gpus = [
        Gpu(i, f"0000:{16 * i + 1:02x}:00.0", chosen.choice(places), _path(chosen, roots))
        for i in range(chosen.choice((0, 1, 2, 4, 8)))
    ]
    nics = [_nic(chosen, i, places, roots) for i in range(chosen.randint(0, 12))]
    smt = tuple(sorted(cores)) if chosen.random() < 0.9 else ()
    return Topology(
        host=f"node{seed}",
        source="json",
        cpus_online=frozenset(cpus),
        smt=smt,
        numa=tuple(numa) if chosen.random() < 0.95 else (),
        gpus=tuple(gpus),
        nics=tuple(nics),
    )


def _path(chosen: random.Random, roots: list[str]) -> tuple[str, ...]:
    root = chosen.choice(roots)
    return (root, *(f"{root}/{chosen.randint(0, 1)}" for _ in range(chosen.randint(0, 2))))


def _nic(chosen: random.Random, index: int, places: list[int | None], roots: list[str]) -> Nic:
    states = [chosen.choice(("ACTIVE", "ACTIVE", "ACTIVE", "DOWN", "UNKNOWN")) for _ in range(2)]
    ports = tuple(Port(n + 1, state) for n, state in enumerate(states[: chosen.randint(0, 2)]))
    return Nic(
        name=f"mlx5_{index}",
        pci=f"0000:{16 * index + 2:02x}:00.0",
        numa=chosen.choice(places),
        path=_path(chosen, roots),
        ports=ports,
        role=chosen.choice(_ROLES),
        provider=chosen.choice(("mlx5", "mlx5", "efa")),
    )


def random_request(seed: int, node: Topology) -> Request:
    """Return what somebody may ask of that node, possible or not."""
    chosen = random.Random(-seed - 1)
    online = sorted(node.cpus_online)
    allowed = None
    if chosen.random() < 0.5:
        allowed = frozenset(chosen.sample(online, chosen.randint(0, len(online)))) | {9999}
    shared = chosen.choice((1, 1, 1, 2, 3))
    return Request(
        num_ranks=chosen.randint(1, 10),
        allowed_cpus=allowed,
        policy=chosen.choice(("nearest", "nearest", "spread", "none")),
        smt=chosen.choice(("use", "avoid")),
        reserved_cores=chosen.choice((0, 0, 1, 2)),
        gpus_per_rank=chosen.choice((1, 2)) if shared == 1 else 1,
        ranks_per_gpu=shared,
        memory=chosen.choice(("local", "bind", "interleave", "none")),
        cross_node=chosen.choice(("", "rails", "flat")),
        nccl_version=chosen.choice((None, (2, 27, 3), (2, 30, 7))),
    )
