"""Which Slurm jobs a run has had: the first, and those that went on with it one after another."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from slurmkit.rundir.layout import ElementDir, RunDir
from slurmkit.rundir.ledger import LedgerError, Record, read_ledger

_EVENT = "successor_submitted"
CONTROL_NAME = "control"


def successors(element: ElementDir, records: Sequence[Record] | None = None) -> list[str]:
    """Return the jobs that went on with an element, the newest last; ids as sbatch printed them.

    The supervisor writes them into the ledger. When it died, an agent submitted the successor, and
    only the claim in the control folder tells.

    Args:
        element: the run, or one element of an array.
        records: its ledger, where that has been read already.

    Raises:
        LedgerError: the ledger is damaged.
    """
    if records is None:
        records = read_ledger(element.ledger_path)
    found = [(record.time, str(record.fields["job_id"])) for record in records if _tells(record)]
    known = {job_id for _, job_id in found}
    found += [pair for pair in _claimed(element.path) if pair[1] not in known]
    return list(dict.fromkeys(job_id for _, job_id in sorted(found)))


def _tells(record: Record) -> bool:
    return record.event == _EVENT and bool(record.fields.get("job_id"))


def _claimed(folder: Path) -> list[tuple[float, str]]:
    found = []
    try:
        paths = list((folder / CONTROL_NAME).glob("successor-*.json"))
    except OSError:
        return []
    for path in paths:
        try:
            job_id = json.loads(path.read_bytes()).get("job_id")
            when = path.stat().st_mtime
        except (OSError, ValueError, AttributeError):  # being written, or never finished
            continue
        if job_id:
            found.append((when, str(job_id)))
    return found


def has_had(run: RunDir, job_id: str) -> bool:
    """Whether a job went on with any element of a run."""
    for element in run.elements().values():
        with contextlib.suppress(LedgerError):  # one damaged run must not hide all others
            if job_id in successors(element):
                return True
    return False


def cancelled_path(element: ElementDir) -> Path:
    """Return the file that says that nobody is to start this element again."""
    return element.path / CONTROL_NAME / "cancelled"


def mark_cancelled(run: RunDir) -> None:
    """Write down that no element of a run is to be started again by itself.

    Raises:
        OSError: the run directory cannot be written.
    """
    for element in (run.element(), *run.elements().values()):
        path = cancelled_path(element)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch()


def is_cancelled(run: RunDir, task: int | None) -> bool:
    """Whether somebody cancelled the run, so that nothing may start it again by itself."""
    return any(cancelled_path(run.element(part)).exists() for part in (None, task))


def unmark_cancelled(run: RunDir) -> None:
    """Let a run be started again."""
    for element in (run.element(), *run.elements().values()):
        cancelled_path(element).unlink(missing_ok=True)
