"""Do the NICs slow down when switches mark packets (ECN, DCQCN)?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped
from slurmkit.doctor.nics import roce_netdevs

_HALVES = {"roce_np": "notification (roce_np)", "roce_rp": "reaction (roce_rp)"}


def _look(place: Place) -> Answer:
    devices = roce_netdevs(place)
    if not devices:
        return skipped("the node has no RoCE interface")
    priority = 3 if place.fabric.priority is None else place.fabric.priority
    facts = {}
    off = []
    for dev in devices:
        for half, words in _HALVES.items():
            value = place.read(f"{dev.folder}/ecn/{half}/enable/{priority}")
            if value:
                facts[f"{half} of {dev.name}"] = value
            if value == "0":
                off.append(f"{dev.name}: {words} is off for priority {priority}")
    if not facts:
        return skipped("the driver shows no ecn folder in /sys (NVIDIA's own drivers do)")
    if off:
        return fail("; ".join(off[:8]), facts)
    return passed(f"on for priority {priority}", facts)


LINK = Link(
    id="ecn",
    group="fabric",
    reads="ecn/roce_np/enable and ecn/roce_rp/enable below the interface in /sys",
    limits="fails when either is off for the site's fabric.priority (3 without a site), or when "
    "nodes differ",
    todo="echo 1 > /sys/class/net/IF/ecn/roce_np/enable/3, and the same for roce_rp: senders that "
    "do not slow down fill the switches, and PFC stops everybody",
    look=_look,
    rdma=True,
)
