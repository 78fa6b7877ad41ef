"""The reason of a failure is what a person would quote from the log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.rundir.reason import reason_from_log

_TRACEBACK = """step 1
Traceback (most recent call last):
  File "train.py", line 9, in <module>
    main()
  File "model.py", line 3, in main
    raise ValueError("boom")
ValueError: boom
"""
_CHAINED = (
    _TRACEBACK
    + """
During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "train.py", line 20, in <module>
    save()
RuntimeError: cannot save
"""
)
_AFTERWARDS = _TRACEBACK + "[W1120 resource_tracker.py:254] leaked semaphores\n" * 5
_TORCH = "".join(f"[rank3]: {line}\n" for line in _TRACEBACK.splitlines()[1:])
_CANCELLED = (
    "working\nout of patience\n"
    "slurmstepd-node1: error: *** STEP 2.0 ON node1 CANCELLED AT 2026-11-20T12:46:52 ***\n"
)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (_TRACEBACK, "ValueError: boom (model.py:3)"),
        (_CHAINED, "RuntimeError: cannot save (train.py:20)"),
        (_AFTERWARDS, "ValueError: boom (model.py:3)"),
        (_TORCH, "ValueError: boom (model.py:3)"),
        (_CANCELLED, "working\nout of patience"),
        (
            "out of patience\n[2026-11-20T13:25:24.869] error: *** STEP 2.0 ON node1 CANCELLED AT "
            "2026-11-20T13:25:24 DUE TO TASK FAILURE ***\n",
            "out of patience",
        ),
        (
            "giving up\n[node2:00179] *** Process received signal ***\n"
            "[node2:00179] Signal: Aborted (6)\n[node2:00179] [ 0] /lib/libc.so.6(+0x3c050)[0x7f]\n"
            "[node2:00179] *** End of error message ***\n",
            "giving up",
        ),
        ("", ""),
        ("\n\n", ""),
        ("one\ntwo\nthree\nfour\n", "two\nthree\nfour"),
        (" 10%\r 20%\r 30%\nsegfault soon", " 30%\nsegfault soon"),
        ("Traceback (most recent call last):\n", "Traceback (most recent call last):"),
        ("x" * 1000, "x" * 400 + "…"),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=2.0.\n",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=2.0.",
        ),
    ],
)
def test_reason(log: str, reason: str) -> None:
    assert reason_from_log(log.encode()) == reason


@given(st.binary())
def test_any_bytes_give_a_short_reason(log: bytes) -> None:
    assert len(reason_from_log(log)) < 3 * 402
