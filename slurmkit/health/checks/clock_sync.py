"""Is the node's clock held right by a time server?"""

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.verdict import NOTE

# include/uapi/linux/timex.h: the kernel has not been told for long that the clock is right.
_STA_UNSYNC = 0x40
_WORDS = 64


def judge(status: int, max_error_s: float, fail_s: float) -> Found:
    """Return the verdict on what adjtimex(2) says."""
    detail = f"off by {max_error_s:.3f} s at most"
    if max_error_s >= fail_s:
        return fail(f"may be {detail}")
    return warn("no time server holds the clock right") if status & _STA_UNSYNC else passed(detail)


def _look(node: Node) -> Found:
    import ctypes  # noqa: PLC0415 (a prolog, which does not look here, should not pay for it)

    # struct timex begins with modes (int), then offset, freq, maxerror, esterror (long) and
    # status (int); modes 0 only reads.
    buffer = (ctypes.c_long * _WORDS)()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(buffer)) < 0:
        return skipped("adjtimex(2) may not be asked here")
    return judge(buffer[5] & 0xFFFFFFFF, buffer[3] / 1e6, node.thresholds["fail_s"])


CHECK = Check(
    id="clock-sync",
    reads="what the kernel knows of its clock: adjtimex(2)",
    limits="warns when no time server holds the clock right; fails when it may be off by much",
    action=NOTE,
    function=_look,
    level=FULL,
    thresholds=(Threshold("fail_s", 60.0, "fails when the clock may be off by so much, seconds"),),
    advice="`chronyc tracking` or `timedatectl`. munge refuses credentials between hosts whose "
    "clocks are more than five minutes apart.",
)
