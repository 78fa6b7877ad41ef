"""Does every RoCE port have a RoCE v2 address in the right network, and at one index?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.doctor.nics import compute_nics
from slurmkit.topology.gids import choose_gids, read_roce_ports
from slurmkit.topology.sysfs import Tree


def _look(place: Place) -> Answer:
    compute = tuple(nic.name for nic in compute_nics(place))
    ports = [port for port in read_roce_ports(Tree(str(place.root))) if port.hca in compute]
    if not ports:
        return skipped("the node has no compute HCA on Ethernet")
    choice = choose_gids(tuple(ports), place.fabric.subnet, compute)
    where = f" in {place.fabric.subnet}" if place.fabric.subnet else ""
    if choice.missing:
        return fail(f"{', '.join(choice.missing)}: no RoCE v2 GID with an IPv4 address{where}")
    if not choice.by_hca:
        return skipped("no RoCE port is up")
    if choice.index is None:
        indices = ", ".join(f"{name} at {index}" for name, index in choice.by_hca)
        return warn(
            f"no index fits all: {indices}",
            todo="NCCL from 2.21 on finds the index of each HCA itself; for older ones bring the "
            "interfaces up in the same order, so that their addresses get the same index",
        )
    if choice.unclear:
        return warn(
            "; ".join(choice.unclear),
            todo="name the compute NICs' network in site.yaml: fabric.subnet",
        )
    return passed(f"RoCE v2 at index {choice.index} on {len(choice.by_hca)} ports{where}")


LINK = Link(
    id="gids",
    group="fabric",
    reads="gids, gid_attrs/types and gid_attrs/ndevs of the compute HCAs in /sys/class/infiniband",
    limits="fails when an active port has no RoCE v2 GID with an IPv4 address in the site's "
    "fabric.subnet; warns when it has several, or when no index fits all HCAs of the node",
    todo="give the interface its IPv4 address and bring it up; the kernel makes the GID from it",
    look=_look,
    rdma=True,
)
