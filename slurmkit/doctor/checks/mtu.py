"""Is the MTU of the fabric's interfaces the same everywhere, and large enough for RDMA?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.doctor.nics import roce_netdevs, way_to_others

# An RDMA MTU of 4096 and its headers (RoCE v2: IP, UDP, BTH and what follows) need this much.
_NEEDED = 4200


def _look(place: Place) -> Answer:
    roce = {dev.name: dev.seen.mtu for dev in roce_netdevs(place) if dev.seen}
    all_ = dict(roce)
    if way := way_to_others(place):
        all_.setdefault(way.name, way.mtu)
    if not all_:
        return skipped("no RoCE interface, and no other host to look for")
    facts = {f"MTU of {name}": str(mtu) for name, mtu in all_.items()}
    wanted = place.fabric.mtu
    detail = ", ".join(f"{name} {mtu}" for name, mtu in all_.items())
    if wanted:
        wrong = [f"{name} has {mtu}, not {wanted}" for name, mtu in roce.items() if mtu != wanted]
        return fail("; ".join(wrong), facts) if wrong else passed(detail, facts)
    small = [name for name, mtu in roce.items() if mtu < _NEEDED]
    if small:
        return warn(f"{', '.join(small)}: below {_NEEDED}, RDMA packets carry 1 KiB", facts)
    return passed(detail, facts)


LINK = Link(
    id="mtu",
    group="fabric",
    reads="the MTU of the compute NICs' interfaces, and of the one that leads to the other hosts",
    limits=f"fails when it is not the MTU of the site's fabric, or when nodes differ; warns below "
    f"{_NEEDED} on RoCE, where the RDMA MTU falls to 1024",
    todo="ip link set IF mtu 9000 on all nodes, after the switches carry such frames",
    look=_look,
)
