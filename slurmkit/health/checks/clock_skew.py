"""Is the node's clock that of the supervisor's host?"""

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped, warn
from slurmkit.health.verdict import NOTE, Verdict

WARN_S = 1.0
FAIL_S = 60.0


def judge_skew(skew_s: float) -> Verdict:
    """Return the verdict on a clock that is this many seconds ahead of the supervisor's."""
    where = "ahead of" if skew_s > 0 else "behind"
    detail = f"{abs(skew_s):.3f} s {where} the supervisor's clock"
    if abs(skew_s) >= FAIL_S:
        found = fail(detail)
    else:
        found = warn(detail) if abs(skew_s) >= WARN_S else passed(detail)
    return CHECK.verdict(*found)


def _look(_node: Node) -> Found:
    return skipped("there is no supervisor to compare with")


CHECK = Check(
    id="clock-skew",
    reads="the time when the agent and the supervisor greet each other",
    limits=f"warns from {WARN_S:g} s, fails from {FAIL_S:g} s apart",
    action=NOTE,
    function=_look,
    advice="See `clock-sync` on both hosts.",
)
