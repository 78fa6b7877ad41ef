"""How far a NIC is from a GPU: PIX, PXB, PHB, NODE or SYS.

The classes are those of `nvidia-smi topo -m` and of NCCL (`src/graph/paths.cc`):

- PIX: one PCIe switch between them, or two functions of one device;
- PXB: several PCIe switches, without the host bridge;
- PHB: through one PCIe host bridge (the CPU's root complex);
- NODE: through host bridges of one NUMA node;
- SYS: through the link between NUMA nodes.
"""

from slurmkit.topology.model import DISTANCES, Gpu, Nic, Topology


def distance(gpu: Gpu, nic: Nic) -> str:
    """Return the class of a GPU-NIC pair.

    When a NUMA node or a path is unknown, the pair counts as the farthest that the rest allows.
    """
    if _function_of_one_device(gpu.pci, nic.pci):
        return "PIX"
    if gpu.path and nic.path and gpu.path[0] == nic.path[0]:
        common = _common(gpu.path, nic.path)
        if common == 1:
            return "PHB"
        return "PIX" if common == len(gpu.path) == len(nic.path) else "PXB"
    return "NODE" if gpu.numa is not None and gpu.numa == nic.numa else "SYS"


def distance_rank(kind: str) -> int:
    """Return 0 for PIX up to 4 for SYS, to sort by."""
    return DISTANCES.index(kind)


def nics_by_distance(topology: Topology, gpu: Gpu) -> list[tuple[str, Nic]]:
    """Return all NICs with their class, nearest first; equals keep the order of the topology."""
    pairs = [(distance(gpu, nic), nic) for nic in topology.nics]
    return sorted(pairs, key=lambda pair: distance_rank(pair[0]))


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


def _function_of_one_device(left: str, right: str) -> bool:
    return bool(left) and left.rpartition(".")[0] == right.rpartition(".")[0]
