"""Is memory free?"""

from slurmkit.health.check import Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.verdict import REFUSE

WARN_SHARE = 0.10
FAIL_SHARE = 0.02


def meminfo(node: Node) -> dict[str, int]:
    """Return /proc/meminfo: bytes by name, and counts where the kernel gives counts."""
    values = {}
    for line in node.read("proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            values[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return values


def _look(node: Node) -> Found:
    values = meminfo(node)
    total, free = values.get("MemTotal"), values.get("MemAvailable")
    if not total or free is None:
        return skipped("/proc/meminfo does not tell")
    detail = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB available"
    if free < node.thresholds["fail_share"] * total:
        return fail(detail)
    return warn(detail) if free < node.thresholds["warn_share"] * total else passed(detail)


CHECK = Check(
    id="memory",
    reads="MemAvailable in /proc/meminfo",
    limits=f"warns below {WARN_SHARE:.0%} of all memory, fails below {FAIL_SHARE:.0%}",
    action=REFUSE,
    function=_look,
    thresholds=(
        Threshold("warn_share", WARN_SHARE, "warns below this share of all memory"),
        Threshold("fail_share", FAIL_SHARE, "fails below this share of all memory"),
    ),
    advice="See who holds it: processes of jobs that have ended, files in /dev/shm or a tmpfs, "
    "huge pages. Where jobs share nodes, confine them by cgroups.",
)
