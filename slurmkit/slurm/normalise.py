"""One shape for what Slurm's releases say in several: numbers, states, exit codes, records.

A number is plain in 22.05's JSON and ``{"set": true, "infinite": false, "number": 5}`` since 23.02;
a state is a word, or a list of a state and its flags; an exit code is a wait status, or an object.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from slurmkit.errors import SlurmError, SlurmUnreachableError
from slurmkit.slurm.states import DONE_STATES, JobState

#: NO_VAL and INFINITE of slurm/slurm.h, as they leak into the JSON of older releases.
_NO_VALUES = frozenset({0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF})
_FIELD = re.compile(r"(?:^|\s)([A-Za-z][\w:/]*)=")
_WORDS_FOR_NOTHING = frozenset({"", "(null)", "N/A", "n/a", "None", "NONE", "Unknown"})

#: Flags that say more than the state they stand beside, most telling first.
_SHOWN_FLAGS = (
    JobState.REQUEUE_HOLD,
    JobState.SPECIAL_EXIT,
    JobState.REQUEUED,
    JobState.COMPLETING,
    JobState.STAGE_OUT,
    JobState.CONFIGURING,
    JobState.SIGNALING,
    JobState.STOPPED,
    JobState.RESIZING,
    JobState.REVOKED,
)
_BASE_STATES = DONE_STATES - {JobState.REVOKED} | {
    JobState.PENDING,
    JobState.RUNNING,
    JobState.SUSPENDED,
}
_STATES = {state.value: state for state in JobState}


def read_rows(printed: str, key: str, source: str) -> list[dict[str, Any]]:
    """Return the list under a key of the JSON object that a program printed.

    Raises:
        SlurmError: there is no such list.
        SlurmUnreachableError: an empty list, and errors beside it: 22.05 prints that with exit
            code 0 when the controller does not answer.
    """
    try:
        value = json.loads(printed)
    except json.JSONDecodeError as error:
        raise SlurmError(f"{source} is no JSON: {error}") from None
    rows = value.get(key) if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise SlurmError(f"{source} has no list of {key}")
    errors = value.get("errors")
    if errors and not rows:
        said = "; ".join(_error_text(error) for error in errors)
        raise SlurmUnreachableError(
            f"Slurm gives no {key}: {said}", hint="see whether `scontrol ping` says UP"
        )
    return rows


def _error_text(error: Any) -> str:
    if not isinstance(error, Mapping):
        return str(error)
    return " ".join(text(error.get(name)) for name in ("source", "error", "description")).strip()


def number(value: Any) -> int | None:
    """Return a count in any release's shape; None for unset, infinite and Slurm's NO_VAL."""
    if isinstance(value, Mapping):
        value = value.get("number") if value.get("set") else None
    if isinstance(value, str):
        value = int(value) if value.lstrip("-").isdigit() else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return None if value in _NO_VALUES or value < 0 else int(value)


def timestamp(value: Any) -> float | None:
    """Return Unix seconds; None where Slurm writes 0 for "not yet"."""
    seconds = number(value)
    return float(seconds) if seconds else None


def text(value: Any) -> str:
    """Return a word; empty for null and for Slurm's words for nothing."""
    return "" if value is None or str(value) in _WORDS_FOR_NOTHING else str(value)


def words(value: Any) -> list[str]:
    """Return the words of a list, or of a string with commas."""
    if isinstance(value, list):
        return [str(word) for word in value]
    return [word for word in text(value).split(",") if word]


def job_state(value: Any) -> tuple[JobState, JobState]:
    """Return the state to show and the state below it.

    Args:
        value: a word, a list of a state and its flags, or sacct's ``CANCELLED by 0``.
    """
    names = value if isinstance(value, list) else [value]
    known = [_STATES[name] for name in (_state_name(name) for name in names) if name in _STATES]
    base = next((state for state in known if state in _BASE_STATES), None)
    shown = next((flag for flag in _SHOWN_FLAGS if flag in known), None)
    if shown is None:
        return base or JobState.UNKNOWN, base or JobState.UNKNOWN
    return shown, base or shown


def _state_name(name: Any) -> str:
    return str(name or "").split(" ")[0].upper()


def exit_status(value: Any) -> tuple[int | None, int | None]:
    """Return exit code and signal.

    Args:
        value: a wait status (22.05's squeue), or the object that every other JSON has.
    """
    if not isinstance(value, Mapping) or "set" in value:
        status = number(value)
        return (None, None) if status is None else (status >> 8 & 0xFF, status & 0x7F or None)
    signal = value.get("signal")
    signal = signal if isinstance(signal, Mapping) else {}
    signal_id = number(signal.get("id", signal.get("signal_id"))) or None
    code = number(value.get("return_code"))
    return (0 if code is None and signal_id else code), signal_id


def array_tasks(expression: str) -> list[int] | None:
    """Return the indices that ``1-9:2,12%4`` stands for; None when it is cut short or no array.

    Squeue cuts the list at 64 characters and writes ``...`` unless SLURM_BITSTR_LEN is 0.
    """
    tasks: list[int] = []
    for part in expression.strip("[]").partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if not match:
            return None
        first = int(match[1])
        last = int(match[2] or first)
        tasks.extend(range(first, last + 1, max(1, int(match[3] or 1))))
    return tasks


def fields(line: str) -> dict[str, str]:
    """Return the ``Key=value`` pairs of a line of ``scontrol -o show``; values may hold spaces."""
    matches = list(_FIELD.finditer(line))
    ends = [match.start() for match in matches[1:]] + [len(line)]
    return {
        match[1]: line[match.end() : end].strip() for match, end in zip(matches, ends, strict=True)
    }


def records(output: str, first_key: str) -> list[dict[str, str]]:
    """Return each record of ``scontrol -o show``, one to a line."""
    lines = [line for line in output.splitlines() if line.startswith(f"{first_key}=")]
    return [fields(line) for line in lines]


def limit(value: str | None) -> int | None:
    """Return a number of ``scontrol show``; None for UNLIMITED, INFINITE and the like."""
    return int(value) if value and value.isdigit() else None


def utc_time(value: str) -> float:
    """Return Unix seconds of ``2026-11-20T13:34:39`` printed under TZ=UTC; 0 for none."""
    try:
        return datetime.fromisoformat(value).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return 0.0
