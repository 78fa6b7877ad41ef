"""Are processes stuck in the kernel?"""

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.processes import pids, state_of
from slurmkit.health.verdict import NOTE

_MOST = 8


def _look(node: Node) -> Found:
    stuck: dict[str, int] = {}
    names = {}
    for pid in pids(node):
        state, start = state_of(node, pid)
        if state == "D":
            key = f"{pid}@{start}"
            stuck[key] = start
            names[key] = f"{pid} {node.read(f'proc/{pid}/comm')}"
    if node.counters is None:
        return skipped("earlier looks are kept by the health program, and not here")
    # A process that waits for its disk is in this state, too; one that was so an hour ago is not
    # just waiting.
    before = node.counters.growth("stuck-processes", stuck)
    still = [names[key] for key in stuck if before and key in before]
    if len(still) >= node.thresholds["fail_count"]:
        return fail(", ".join(still[:_MOST]))
    return warn(", ".join(still[:_MOST])) if still else passed(f"{len(stuck)} wait just now")


CHECK = Check(
    id="stuck-processes",
    reads="state of each process in /proc, held against that of an earlier look, one to two hours "
    "ago",
    limits="warns of a process that waits in the kernel (state D) in both; fails from so many on",
    action=NOTE,
    function=_look,
    level=FULL,
    thresholds=(Threshold("fail_count", 5.0, "fails from so many processes on"),),
    advice="`cat /proc/PID/stack` says what they wait for: mostly a file server or a GPU driver. "
    "They cannot be killed; when what they wait for does not come back, reboot.",
)
