"""Which NICs a rank has, and on which rail they are.

Only NICs whose role is compute count: management and storage HCAs have active ports, too, and stand
beside the GPUs. Nearest by distance class; GPUs that share their nearest NICs divide them in PCI
order, so that no NIC serves two GPUs while another stands idle.
"""

from slurmkit.record import Record
from slurmkit.topology.distance import distance, distance_rank, nics_by_distance
from slurmkit.topology.model import Gpu, Nic, Topology


class Nics(Record):
    """The NICs of one rank, the class of its farthest pair, and what is not as promised."""

    nics: tuple[Nic, ...]
    distance: str = ""
    notes: tuple[str, ...] = ()


def nics_of_ranks(
    topology: Topology,
    gpus: list[tuple[Gpu, ...]],
    numa: list[tuple[int, ...]],
) -> list[Nics]:
    """Return the NICs of each rank.

    Args:
        topology: the node.
        gpus: the GPUs of each rank.
        numa: the NUMA nodes of each rank's cores, which choose where there are no GPUs.
    """
    if any(gpus):
        shares = nics_of_gpus(topology)
        return [_with_farther_noted(topology, own, shares) for own in gpus]
    return _of_nodes(topology, numa)


def compute_nics(topology: Topology) -> list[Nic]:
    """Return the NICs that collectives may use, in PCI order; ports that are down do not count."""
    return [nic for nic in topology.nics if nic.role == "compute" and nic.active]


def nics_of_gpus(topology: Topology) -> dict[int, tuple[Nic, ...]]:
    """Return each GPU's share of the compute NICs by its index.

    All GPUs of the node take part, also those that no rank has: a GPU's NIC is the same in every
    job, and on every node that is built alike.
    """
    usable = compute_nics(topology)
    nearest = {gpu.index: _nearest(topology, gpu, usable) for gpu in topology.gpus}
    together: dict[tuple[str, ...], list[int]] = {}
    for gpu in topology.gpus:
        key = tuple(nic.name for nic in nearest[gpu.index])
        together.setdefault(key, []).append(gpu.index)
    shares: dict[int, tuple[Nic, ...]] = {}
    for group in together.values():
        for position, index in enumerate(group):
            shares[index] = _share(nearest[index], position, len(group))
    return shares


def rails(topology: Topology) -> dict[str, tuple[int, int]]:
    """Return (rail, plane) of every compute NIC by name.

    Nodes are wired by the GPUs' order: the NICs of GPU k are on rail k, and a GPU's second NIC is
    on another plane of it. A NIC of several GPUs is on the rail of the first. Without GPUs every
    NIC is a rail, in PCI order.
    """
    if not topology.gpus:
        return {nic.name: (rail, 0) for rail, nic in enumerate(compute_nics(topology))}
    found: dict[str, tuple[int, int]] = {}
    for index, nics in sorted(nics_of_gpus(topology).items()):
        for plane, nic in enumerate(nics):
            found.setdefault(nic.name, (index, plane))
    return found


def _nearest(topology: Topology, gpu: Gpu, usable: list[Nic]) -> list[Nic]:
    names = {nic.name for nic in usable}
    pairs = [(kind, nic) for kind, nic in nics_by_distance(topology, gpu) if nic.name in names]
    return [nic for kind, nic in pairs if kind == pairs[0][0]]


def _share(nics: list[Nic], position: int, num_sharing: int) -> tuple[Nic, ...]:
    if not nics:
        return ()
    if len(nics) < num_sharing:
        return (nics[position * len(nics) // num_sharing],)
    start, end = (place * len(nics) // num_sharing for place in (position, position + 1))
    return tuple(nics[start:end])


def _of_gpus(topology: Topology, gpus: tuple[Gpu, ...], shares: dict[int, tuple[Nic, ...]]) -> Nics:
    pairs: dict[str, tuple[int, str]] = {}
    chosen: dict[str, Nic] = {}
    for gpu in gpus:
        for nic in shares[gpu.index]:
            kind = distance(gpu, nic)
            chosen[nic.name] = nic
            pairs[f"{gpu.index} {nic.name}"] = (distance_rank(kind), kind)
    down = [
        f"{nic.name} ({nic.role_reason or 'compute'}) has no active port: GPU {gpu.index} goes "
        f"without it"
        for gpu in gpus
        for nic in topology.nics
        if nic.role == "compute" and not nic.active and _is_nearer(gpu, nic, shares[gpu.index])
    ]
    # All pairs of one GPU have one class; several GPUs may differ, and the farthest counts.
    farthest = max(pairs.values(), default=(0, ""))[1]
    return Nics(tuple(chosen.values()), farthest, tuple(down))


def _with_farther_noted(
    topology: Topology, gpus: tuple[Gpu, ...], shares: dict[int, tuple[Nic, ...]]
) -> Nics:
    """Return a rank's NICs; a GPU that is worse off than others of its node is named."""
    found = _of_gpus(topology, gpus, shares)
    best = {
        gpu.index: distance_rank(distance(gpu, shares[gpu.index][0]))
        for gpu in topology.gpus
        if shares[gpu.index]
    }
    notes = [
        f"GPU {gpu.index} has no NIC nearer than {found.distance}, others of this node have"
        for gpu in gpus
        if not found.notes and best.get(gpu.index, 0) > min(best.values(), default=0)
    ]
    return found.replace(notes=(*found.notes, *notes))


def _is_nearer(gpu: Gpu, nic: Nic, share: tuple[Nic, ...]) -> bool:
    here = distance_rank(distance(gpu, nic))
    return not share or here < distance_rank(distance(gpu, share[0]))


def _of_nodes(topology: Topology, numa: list[tuple[int, ...]]) -> list[Nics]:
    """Return NICs of ranks without GPUs: those on the NUMA nodes of their cores, else all share."""
    usable = compute_nics(topology)
    keys = []
    for nodes in numa:
        near = [nic for nic in usable if nic.numa is not None and nic.numa in nodes]
        keys.append(tuple(nic.name for nic in near or usable))
    by_name = {nic.name: nic for nic in usable}
    result = []
    for rank, key in enumerate(keys):
        sharing = [other for other, theirs in enumerate(keys) if theirs == key]
        nics = [by_name[name] for name in key]
        result.append(Nics(_share(nics, sharing.index(rank), len(sharing))))
    return result
