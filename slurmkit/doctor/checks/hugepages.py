"""Are huge pages set up alike, and not wasted?"""

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped, warn
from slurmkit.health.checks.hugepages import CHECK
from slurmkit.health.checks.memory import meminfo
from slurmkit.health.verdict import SKIPPED, WARN


def _look(place: Place) -> Answer:
    verdict = CHECK.run(place.node)
    if verdict.verdict == SKIPPED:
        return skipped(verdict.detail)
    transparent = place.read("sys/kernel/mm/transparent_hugepage/enabled")
    chosen = transparent.partition("[")[2].partition("]")[0] or "unknown"
    facts = {
        "huge pages": str(meminfo(place.node).get("HugePages_Total", 0)),
        "transparent huge pages": chosen,
    }
    if verdict.verdict == WARN:
        return warn(verdict.detail, facts)
    return passed(f"{verdict.detail}, transparent: {chosen}", facts)


LINK = Link(
    id="hugepages",
    group="resources",
    reads="/proc/meminfo and /sys/kernel/mm/transparent_hugepage/enabled",
    limits="warns when over 10 % of all memory lies in unused huge pages, or when nodes differ",
    todo="set vm.nr_hugepages alike on all nodes, and to what the programs use",
    look=_look,
    differs=WARN,
)
