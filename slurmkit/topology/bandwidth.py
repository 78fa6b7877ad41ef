"""What each GPU-NIC pair can carry and what a wrong binding costs: derived, not measured.

Sources: the PCIe line codes (see `Link.bandwidth_gbs`), port rates as sysfs gives them, and NCCL's
default for GPUDirect RDMA, which it uses up to PXB (`ncclTopoCheckGdr` in `src/graph/paths.cc`).
"""

from slurmkit.record import Record
from slurmkit.topology.distance import distance, distance_rank, nics_by_distance
from slurmkit.topology.model import Gpu, Nic, Topology


class Pair(Record):
    """A GPU and a NIC.

    Attributes:
        bandwidth_gbs: the least of the GPU's link, the NIC's link and the NIC's rate, in GB/s of
            one direction, or None when none of them is known.
        gpudirect: whether NCCL by default lets the NIC read the GPU's memory at this distance.
    """

    gpu: int
    nic: str
    distance: str
    bandwidth_gbs: float | None
    gpudirect: bool


def pairs(topology: Topology) -> list[Pair]:
    """Return every GPU-NIC pair, by GPU, then in the order of the NICs."""
    return [_pair(gpu, nic) for gpu in topology.gpus for nic in topology.nics]


def _pair(gpu: Gpu, nic: Nic) -> Pair:
    kind = distance(gpu, nic)
    return Pair(
        gpu=gpu.index,
        nic=nic.name,
        distance=kind,
        bandwidth_gbs=_bandwidth(gpu, nic),
        gpudirect=distance_rank(kind) <= distance_rank("PXB"),
    )


def _bandwidth(gpu: Gpu, nic: Nic) -> float | None:
    rate = nic.rate_gbps
    limits = [gpu.link.bandwidth_gbs, nic.link.bandwidth_gbs, rate / 8 if rate else None]
    known = [limit for limit in limits if limit is not None]
    return round(min(known), 1) if known else None


def nearest_nics(topology: Topology, gpu: Gpu) -> tuple[str, list[Nic]]:
    """Return the best class among usable NICs for collectives, and the NICs of that class."""
    usable = [
        (kind, nic)
        for kind, nic in nics_by_distance(topology, gpu)
        if nic.role == "compute" and nic.active
    ]
    if not usable:
        return "", []
    best = usable[0][0]
    return best, [nic for kind, nic in usable if kind == best]


def wrong_binding_costs(topology: Topology) -> list[str]:
    """Return, in sentences, what binding a rank to the wrong NIC or cores costs on this node."""
    return [*_shared_nic_cost(topology), *_far_nic_cost(topology), *_far_memory_cost(topology)]


def _shared_nic_cost(topology: Topology) -> list[str]:
    rates = {
        nic.name: nic.rate_gbps
        for gpu in topology.gpus
        for nic in nearest_nics(topology, gpu)[1]
        if nic.rate_gbps
    }
    if len(topology.gpus) < 2 or len(rates) < 2:
        return []
    one, every = max(rates.values()), sum(rates.values())
    return [
        f"All {len(topology.gpus)} ranks on one NIC: {one:g} Gb/s for the node instead of "
        f"{every:g} Gb/s over {len(rates)} NICs, {every / one:.3g} times less."
    ]


def _far_nic_cost(topology: Topology) -> list[str]:
    near = [nearest_nics(topology, gpu)[0] for gpu in topology.gpus]
    if not near or any(kind not in ("PIX", "PXB") for kind in near):
        return []
    return [
        "A NIC beyond PXB: NCCL by default gives up GPUDirect RDMA, so every byte also crosses "
        "host memory and the CPU's links."
    ]


def _far_memory_cost(topology: Topology) -> list[str]:
    rows = [node.distances for node in topology.numa if node.cpus and node.distances]
    ratios = [max(row) / min(row) for row in rows if min(row) > 0]
    if len(topology.numa) < 2:
        return []
    far = "Cores of another NUMA node:"
    if not ratios or max(ratios) <= 1:
        return [f"{far} every access to memory crosses the link between them."]
    ratio = max(ratios)
    return [f"{far} the firmware puts remote memory at {ratio:.2g} times the local distance."]


def format_bandwidth(gpu: Gpu, nics: list[Nic]) -> str:
    """Return what each of these NICs can exchange with a GPU, or an empty text when unknown."""
    values = {_bandwidth(gpu, nic) for nic in nics}
    value = next(iter(values)) if len(values) == 1 else None
    return f"{value:g} GB/s" if value is not None else ""
