"""Does the node have all of its memory?"""

from slurmkit.health.check import Check, Found, Node, Threshold, fail, passed, skipped
from slurmkit.health.checks.memory import meminfo
from slurmkit.health.verdict import DRAIN

FAIL_SHARE = 0.97


def _look(node: Node) -> Found:
    total = meminfo(node).get("MemTotal")
    if not total:
        return skipped("/proc/meminfo does not tell")
    if node.memory_mib is None:
        return skipped("the site does not say how much there should be")
    detail = f"{total >> 20} of {node.memory_mib} MiB"
    too_little = (total >> 20) < node.thresholds["fail_share"] * node.memory_mib
    return fail(f"{detail} are there") if too_little else passed(detail)


CHECK = Check(
    id="memory-size",
    reads="MemTotal in /proc/meminfo, held against `memory` of the node type in site.yaml",
    limits=f"fails below {FAIL_SHARE:.0%} of it",
    action=DRAIN,
    function=_look,
    thresholds=(
        Threshold("fail_share", FAIL_SHARE, "fails below this share of the declared memory"),
    ),
    advice="A module that failed its test at power-on is left out by the firmware: `dmidecode -t "
    "memory` and the event log of the management controller say which.",
)
