"""Why a rank failed, from the last lines it wrote."""

import re

_TRACEBACK = "Traceback (most recent call last):"
# torch puts the rank before every line of an uncaught exception: "[rank3]: ValueError: boom".
_RANK_PREFIX = re.compile(r"^\[rank\d+\]:\s?")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+)')
# An exception as Python prints it: its name, alone or before a colon.
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(: .*)?$")
# What Slurm writes into rank 0's stream when it ends a step: the consequence, not the reason.
# (22.05 begins it with its name, 26.05 with the time.)
_STEP_CANCELLED = re.compile(r"^(slurmstepd\S*:|\[\S+\]) error: \*\*\* (STEP|JOB) ")
# The stack that Open MPI prints when a signal ends a rank; the signal is known without it.
_MPI_STACK = re.compile(r"^\[[\w.-]+:\d+\] (\*\*\* |\[ ?\d+\] |Signal)")
_MAX_LINE = 400
_LAST_LINES = 3


def reason_from_log(data: bytes) -> str:
    """Return the likely reason: a Python traceback's exception and place, else the last lines.

    Args:
        data: the end of the rank's log, any bytes.

    Returns:
        One to three lines; empty when the rank wrote nothing.
    """
    text = data.decode("utf-8", "replace")
    # A progress bar rewrites its line after \r: what stood there last is what was seen.
    lines = [
        _RANK_PREFIX.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in text.split("\n")
    ]
    said = [_cut(line) for line in lines if line.strip() and not _is_aftermath(line)]
    return _exception(lines) or "\n".join(said[-_LAST_LINES:])


def _is_aftermath(line: str) -> bool:
    return bool(_STEP_CANCELLED.match(line) or _MPI_STACK.match(line))


def _exception(lines: list[str]) -> str:
    """Return the exception of the last traceback; empty when there is none."""
    starts = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if not starts:
        return ""
    place = ""
    for line in lines[starts[-1] + 1 :]:
        if frame := _FRAME.match(line):
            place = f" ({frame['file']}:{frame['line']})"
        elif line and not line[0].isspace():
            return f"{_cut(line)}{place}" if _EXCEPTION.match(line) else ""
    return ""


def _cut(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…"
