"""Are the interfaces of the compute NICs, and the one that leads to the other hosts, up?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped
from slurmkit.doctor.netdev import Interface
from slurmkit.doctor.nics import roce_netdevs, way_to_others


def _look(place: Place) -> Answer:
    found = {dev.name: dev.seen for dev in roce_netdevs(place) if dev.seen}
    if way := way_to_others(place):
        found.setdefault(way.name, way)
    if not found:
        return skipped("no RoCE interface, and no other host to look for")
    facts = {f"speed of {name}": _speed(seen) for name, seen in found.items()}
    down = [f"{name} {_why_down(seen)}" for name, seen in found.items() if not seen.running]
    if down:
        return fail("; ".join(down), facts)
    return passed(", ".join(f"{name} {_speed(seen)}" for name, seen in found.items()), facts)


def _speed(seen: Interface) -> str:
    if not seen.running:
        return "down"
    return f"{seen.speed_mbps / 1000:g} Gb/s" if seen.speed_mbps else "up"


def _why_down(seen: Interface) -> str:
    return "has no link" if seen.up else "is switched off"


LINK = Link(
    id="interfaces",
    group="fabric",
    reads="flags and speed of the compute NICs' interfaces, and of the one that leads to the other "
    "hosts, by ioctl (what `ip link` and ethtool show)",
    limits="fails when one has no link, or when nodes differ in speed",
    todo="ip link set IF up; if it has no carrier then, look at cable, transceiver and switch port",
    look=_look,
)
