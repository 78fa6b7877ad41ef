"""Do links of the fabric go down and up again?"""

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.verdict import DRAIN

_MOST = 8


def read_flaps(node: Node) -> dict[str, int]:
    """Return how often each link has gone down since its driver was loaded."""
    found = {}
    for device in node.names("sys/class/infiniband"):
        folder = f"sys/class/infiniband/{device}"
        for port in node.names(f"{folder}/ports"):
            value = node.number(f"{folder}/ports/{port}/counters/link_downed")
            if value is not None:
                found[f"{device}/{port}"] = value
        for netdev in node.names(f"{folder}/device/net"):
            value = node.number(f"{folder}/device/net/{netdev}/carrier_down_count")
            if value is not None:
                found[netdev] = value
    return found


def _look(node: Node) -> Found:
    values = read_flaps(node)
    if not values:
        return skipped("no link counts how often it went down")
    if node.counters is None:
        return skipped("earlier counts are kept by the health program, and not here")
    growth = node.counters.growth("link-flaps", values)
    if growth is None:
        return passed(f"{len(values)} links, read for the first time")
    flaps = {name: count for name, count in growth.items() if count}
    words = "; ".join(
        f"{name} went down {count} times" for name, count in list(flaps.items())[:_MOST]
    )
    if any(count >= node.thresholds["fail_count"] for count in flaps.values()):
        return fail(words)
    if any(count >= node.thresholds["warn_count"] for count in flaps.values()):
        return warn(words)
    return passed(f"{len(values)} links")


CHECK = Check(
    id="link-flaps",
    reads="link_downed of each InfiniBand port and carrier_down_count of the RDMA devices' network "
    "interfaces, held against those of the last one to two hours",
    limits="warns and fails when a link went down so often",
    action=DRAIN,
    function=_look,
    level=FULL,
    thresholds=(
        Threshold("warn_count", 1.0, "warns when a link went down so often"),
        Threshold("fail_count", 5.0, "fails when a link went down so often"),
    ),
    advice="A link that flaps ends jobs. Clean or swap cable and transceiver; when all links of "
    "one switch flap, look there.",
)
