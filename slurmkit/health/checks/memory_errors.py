"""Does the node's memory have errors?"""

from slurmkit.health.check import Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.verdict import DRAIN


def _look(node: Node) -> Found:
    corrected: dict[str, int] = {}
    bad = []
    controllers = [name for name in node.names("sys/devices/system/edac/mc") if name[:2] == "mc"]
    for name in controllers:
        folder = f"sys/devices/system/edac/mc/{name}"
        corrected[name] = node.number(f"{folder}/ce_count") or 0
        uncorrected = node.number(f"{folder}/ue_count") or 0
        if uncorrected:
            bad.append(f"{name}: {uncorrected} uncorrected errors")
    if not controllers:
        return skipped("no EDAC driver counts memory errors here")
    if bad:
        return fail("; ".join(bad))
    growth = node.counters.growth("memory-errors", corrected) if node.counters else None
    counted = corrected if growth is None else growth
    odd = [
        f"{name}: {count} corrected errors"
        for name, count in counted.items()
        if count >= node.thresholds["warn_count"]
    ]
    return warn("; ".join(odd)) if odd else passed(f"{len(controllers)} memory controllers")


CHECK = Check(
    id="memory-errors",
    reads="ue_count and ce_count of each memory controller in /sys/devices/system/edac",
    limits="fails on uncorrected errors since the node was started; warns when many were corrected "
    "in the last one to two hours, or since the start where nobody keeps earlier counts",
    action=DRAIN,
    function=_look,
    thresholds=(
        Threshold("warn_count", 100.0, "warns from so many corrected errors of a controller on"),
    ),
    advice="`ras-mc-ctl --errors` and the management controller name the module. Counts start anew "
    "with the node.",
)
