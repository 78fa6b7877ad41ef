"""A platform's node scaled to the CPUs of this machine, so that a plan for it can be enforced here.

A sandbox node cannot bind a rank to CPU 112 of a DGX on a laptop. Scaled, the node keeps its GPUs,
NICs and the way they hang together, and its NUMA nodes share the CPUs that are really there.
"""

from slurmkit.errors import UsageError
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.model import NumaNode, Topology


def scale_to_cpus(topology: Topology, real: Topology, num_gpus: int | None = None) -> Topology:
    """Return the topology with the CPUs, SMT siblings and memory of a real machine.

    Args:
        topology: the node to look like.
        real: this machine, as discovered; its cores are dealt out whole, in order.
        num_gpus: keep so many GPUs, evenly from every NUMA node that has some; None keeps all.

    Raises:
        UsageError: when there are fewer cores than NUMA nodes with CPUs, or fewer GPUs than asked.
    """
    cores = list(real.smt or ((cpu,) for cpu in sorted(real.cpus_online)))
    places = [node.index for node in topology.numa if node.cpus]
    if len(cores) < len(places):
        raise UsageError(
            f"{topology.host} has {len(places)} NUMA nodes with CPUs; this machine's "
            f"{len(cores)} cores cannot be shared among them"
        )
    shares = {
        index: cores[rank * len(cores) // len(places) : (rank + 1) * len(cores) // len(places)]
        for rank, index in enumerate(places)
    }
    memory_mib = sum(node.memory_mib or 0 for node in real.numa) // len(places)
    numa = tuple(_scaled(node, shares.get(node.index, []), memory_mib) for node in topology.numa)
    note = f"CPUs are those of {real.host}: {format_cpulist(real.cpus_online)}."
    scaled = topology.replace(
        cpus_online=frozenset(cpu for core in cores for cpu in core),
        smt=tuple(cores),
        numa=numa,
        notes=(*topology.notes, note),
        synthetic=(*topology.synthetic, "numa", "smt", "cpus_online"),
    )
    return scaled if num_gpus is None else _with_gpus(scaled, num_gpus)


def _scaled(node: NumaNode, cores: list[tuple[int, ...]], memory_mib: int) -> NumaNode:
    if not node.cpus:
        return node
    return node.replace(
        cpus=frozenset(cpu for core in cores for cpu in core), memory_mib=memory_mib
    )


def _with_gpus(topology: Topology, num_gpus: int) -> Topology:
    total = len(topology.gpus)
    if not 0 <= num_gpus <= total:
        raise UsageError(f"{topology.host} has {total} GPUs, not {num_gpus}")
    # In PCI order GPUs come node by node: equal steps take as many from each.
    kept = [topology.gpus[place * total // num_gpus] for place in range(num_gpus)]
    gpus = tuple(gpu.replace(index=index) for index, gpu in enumerate(kept))
    return topology.replace(gpus=gpus)
