"""Do the clocks agree?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.health.checks.clock_skew import FAIL_S, WARN_S


def judge(skew_s: float, uncertain_s: float) -> Answer:
    """Return the answer for a clock that is this much ahead of the examiner's.

    Args:
        skew_s: seconds; negative for behind.
        uncertain_s: what the message's way may have added.
    """
    certain_s = max(0.0, abs(skew_s) - uncertain_s)
    where = "ahead of" if skew_s > 0 else "behind"
    detail = f"{abs(skew_s):.1f} s {where} the host that asks"
    if certain_s >= FAIL_S:
        return fail(detail)
    if certain_s >= WARN_S:
        return warn(detail)
    return passed("agrees with the host that asks")


def _look(_place: Place) -> Answer:
    return skipped("one host alone has no other clock to compare with")


LINK = Link(
    id="clock",
    group="access",
    reads="the time on each host when it answers",
    limits=f"warns from {WARN_S:g} s, fails from {FAIL_S:g} s apart, beyond what the answer may "
    "have taken (5 s for a clock that is behind); munge refuses at 300 s",
    todo="start chronyd or ntpd there (timedatectl says whether it synchronises): munge refuses "
    "credentials, and make and caches on shared folders go wrong",
    look=_look,
)
