"""What the prolog refused: written by it, and read by the health program, which tells Slurm why."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from slurmkit.health.files import put_file
from slurmkit.record import Record

_NAME = "refused.json"
_PAUSE = "no-refusals-until"
_MOST = 100


class Refusal(Record):
    """A start that the prolog refused.

    Attributes:
        at: Unix seconds.
        words: why.
        job_id: of which job.
    """

    at: float
    words: str
    job_id: str = ""


def read_refusals(state_dir: Path) -> list[Refusal]:
    """Return what was refused and not yet dealt with, oldest first."""
    try:
        rows = json.loads((state_dir / _NAME).read_bytes())
        return [Refusal(float(row["at"]), str(row["words"]), str(row["job_id"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_refusals(state_dir: Path, refusals: Sequence[Refusal]) -> None:
    """Write down what was refused.

    Raises:
        OSError: it cannot be written.
    """
    rows = [{"at": r.at, "words": r.words, "job_id": r.job_id} for r in refusals[-_MOST:]]
    put_file(state_dir / _NAME, json.dumps(rows))


def paused(state_dir: Path, now: float) -> bool:
    """Whether the prolog must not refuse now: too many nodes are drained by us already."""
    with contextlib.suppress(OSError, ValueError):
        return now < float((state_dir / _PAUSE).read_text())
    return False


def pause(state_dir: Path, until: float) -> None:
    """Let the prolog refuse nothing until then.

    Raises:
        OSError: it cannot be written.
    """
    put_file(state_dir / _PAUSE, f"{until}\n")
