"""Were the CPUs slowed down by heat?"""

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, passed, skipped, warn
from slurmkit.health.verdict import NOTE


def _look(node: Node) -> Found:
    folder = "sys/devices/system/cpu"
    packages: dict[str, int] = {}
    for name in node.names(folder):
        count = node.number(f"{folder}/{name}/thermal_throttle/package_throttle_count")
        if count is not None:
            package = node.read(f"{folder}/{name}/topology/physical_package_id") or "0"
            packages[package] = max(count, packages.get(package, 0))
    if not packages:
        return skipped("the CPUs do not count it")
    if node.counters is None:
        return skipped("earlier counts are kept by the health program, and not here")
    growth = node.counters.growth("cpu-throttling", packages)
    if growth is None:
        return passed(f"{len(packages)} sockets, read for the first time")
    odd = [
        f"socket {name} was slowed down {count} times"
        for name, count in growth.items()
        if count >= node.thresholds["warn_count"]
    ]
    return warn("; ".join(odd)) if odd else passed(f"{len(packages)} sockets")


CHECK = Check(
    id="cpu-throttling",
    reads="package_throttle_count of each socket in /sys, held against that of the last one to two "
    "hours",
    limits="warns when a socket was slowed down so often",
    action=NOTE,
    function=_look,
    level=FULL,
    thresholds=(Threshold("warn_count", 100.0, "warns when a socket was slowed down so often"),),
    advice="Look at fans and coolant, and at the power limit in the firmware.",
)
