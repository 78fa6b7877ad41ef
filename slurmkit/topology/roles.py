"""Which NICs collectives may use: decided from structure, because numbers and names do not tell.

DGX and HGX baseboards carry HCAs for storage and management beside those for collectives, and since
B200 four more ConnectX-7 that only talk to the NVSwitches, with active ports and the same PCI id.
"""

from slurmkit.record import Record
from slurmkit.topology.distance import distance, distance_rank
from slurmkit.topology.model import Gpu, Nic, Topology

_BEHIND_ONE_SWITCH_TREE = distance_rank("PXB")


def assign_roles(topology: Topology, nvswitch_bridges: frozenset[str] = frozenset()) -> Topology:
    """Return the topology with `role` and `role_reason` of every NIC set.

    A NIC is for compute when it stands at the best distance of a GPU and is of the kind (PCI id,
    board and rate) that serves most GPUs; a lower rate alone does not matter where the GPU has no
    better. Without PCIe switches (a virtual machine), it is one of the fastest of the fabric. All
    others are unknown, and never chosen.
    """
    rest = [nic for nic in topology.nics if nic.name not in nvswitch_bridges]
    virtual = _compute_names(topology.gpus, rest)
    nics = tuple(_with_role(nic, nvswitch_bridges, virtual) for nic in topology.nics)
    return topology.replace(nics=nics)


def _with_role(nic: Nic, bridges: frozenset[str], compute: dict[str, str]) -> Nic:
    if nic.name in bridges:
        return nic.replace(role="management", role_reason="bridge to the NVSwitches (VPD SW_MNG)")
    if nic.name in compute:
        return nic.replace(role="compute", role_reason=compute[nic.name])
    return nic.replace(role="unknown", role_reason="others stand nearer to the GPUs or are faster")


def _compute_names(gpus: tuple[Gpu, ...], nics: list[Nic]) -> dict[str, str]:
    """Return the compute NICs and why."""
    if not nics:
        return {}
    near = {
        gpu.index: [nic for nic in nics if _near(gpu, nic) == _best(gpu, nics)]
        for gpu in gpus
        if _best(gpu, nics) <= _BEHIND_ONE_SWITCH_TREE
    }
    if near:
        kind = _widest_kind(list(near.values()))
        return {
            nic.name: f"nearest to GPU {index}"
            for index, chosen in reversed(near.items())
            for nic in _of_kind(chosen, kind)
        }
    active = [nic for nic in nics if nic.active] or nics
    fabric = [nic for nic in active if _is_fabric(nic)] or active
    fastest = max(nic.rate_gbps or 0.0 for nic in fabric)
    return {
        nic.name: "among the fastest; no PCIe switch tells more"
        for nic in fabric
        if (nic.rate_gbps or 0.0) == fastest
    }


class _Kind(Record):
    """What NICs of one purpose share."""

    pci_id: str
    board_id: str
    rate_gbps: float


def _kind(nic: Nic) -> _Kind:
    return _Kind(nic.pci_id or nic.provider, nic.board_id, nic.rate_gbps or 0.0)


def _widest_kind(choices: list[list[Nic]]) -> _Kind:
    """Return the kind that stands beside most GPUs; of equals, the faster."""
    kinds = {_kind(nic) for chosen in choices for nic in chosen}

    def weight(kind: _Kind) -> tuple[int, float, str, str]:
        served = sum(any(_kind(nic) == kind for nic in chosen) for chosen in choices)
        return served, kind.rate_gbps, kind.pci_id, kind.board_id

    return max(kinds, key=weight)


def _of_kind(nics: list[Nic], kind: _Kind) -> list[Nic]:
    """Return the NICs of a kind; those of another rate only where there are none of its rate.

    A port that is down, or trained at half its rate, does not show what it is meant for.
    """
    same_board = [nic for nic in nics if _kind(nic).replace(rate_gbps=kind.rate_gbps) == kind]
    exact = [nic for nic in same_board if _kind(nic) == kind or not nic.active]
    return exact or same_board


def _is_fabric(nic: Nic) -> bool:
    return nic.provider == "efa" or any(port.link_layer == "InfiniBand" for port in nic.ports)


def _near(gpu: Gpu, nic: Nic) -> int:
    return distance_rank(distance(gpu, nic))


def _best(gpu: Gpu, nics: list[Nic]) -> int:
    return min(_near(gpu, nic) for nic in nics)
