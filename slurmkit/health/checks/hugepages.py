"""Does memory lie in huge pages that nobody uses?"""

from slurmkit.health.check import Check, Found, Node, Threshold, passed, skipped, warn
from slurmkit.health.checks.memory import meminfo
from slurmkit.health.verdict import NOTE

WARN_SHARE = 0.10


def _look(node: Node) -> Found:
    values = meminfo(node)
    total = values.get("MemTotal")
    if not total or "HugePages_Total" not in values:
        return skipped("/proc/meminfo does not tell")
    size = values.get("Hugepagesize", 0)
    unused = values.get("HugePages_Free", 0) * size
    detail = f"{values['HugePages_Total']} huge pages, {unused / 2**30:.1f} GiB of them unused"
    too_much = unused > node.thresholds["warn_share"] * total
    return warn(detail) if too_much else passed(detail)


CHECK = Check(
    id="hugepages",
    reads="HugePages_Total, HugePages_Free and Hugepagesize in /proc/meminfo",
    limits=f"warns when more than {WARN_SHARE:.0%} of all memory lies in unused huge pages",
    action=NOTE,
    function=_look,
    thresholds=(Threshold("warn_share", WARN_SHARE, "warns above this share of all memory"),),
    advice="Memory in huge pages is nobody's until a program asks for huge pages. Set "
    "vm.nr_hugepages lower, or back to 0 after the job that wanted them.",
)
