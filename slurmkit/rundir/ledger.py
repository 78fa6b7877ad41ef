"""The ledger: what happened to a run, as append-only JSON lines with exactly one living writer.

Each record is one line written by one write() and made durable by fsync, so a crash can tear only
the last line, and readers skip that one. The writer is fenced: it holds an incarnation id
(``<job id>.<restart count>.<random>``), the ``fence`` file names the one that may write, and a
newer incarnation takes it over. A writer that lost the fence raises instead of appending; between
its look at the fence and its write there is no lock, as none is dependable on every shared file
system, so a stale writer could still add a record, which its incarnation then gives away.
"""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.atomic import atomic_write, sync_folder
from slurmkit.rundir.layout import ElementDir

VERSION = 1
_OWN_FIELDS = ("v", "seq", "time", "event", "attempt", "incarnation")


class LedgerError(SlurmkitError):
    """The ledger cannot be read: a line in its middle is damaged."""


class StaleWriterError(SlurmkitError):
    """A newer incarnation of the job has taken the run over; this one must not write any more."""


@dataclass(frozen=True)
class Record:
    """One line of the ledger.

    Attributes:
        seq: number of the record, from 1.
        time: Unix seconds.
        event: what happened, such as ``attempt_started``.
        attempt: in which attempt, from 1.
        incarnation: who wrote it.
        fields: the event's own fields.
    """

    seq: int
    time: float
    event: str
    attempt: int
    incarnation: str
    fields: dict[str, Any] = field(default_factory=dict)


def new_incarnation(job_id: str, restart_count: int) -> str:
    """Return an id for this life of the job; no other life has the same one."""
    return f"{job_id}.{restart_count}.{os.urandom(4).hex()}"


def read_ledger(path: Path) -> list[Record]:
    """Return all records; a ledger that does not exist (yet) is empty.

    Raises:
        LedgerError: a line other than a torn last one is damaged; names file and line.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = data.split(b"\n")
    lines.pop()  # empty, or the torn end of a write that never finished
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1)]


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        values = json.loads(line)
        own = {name: values.pop(name) for name in _OWN_FIELDS}
        version = own.pop("v")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise LedgerError(
            f"{path}:{number}: not a ledger record ({error})",
            hint="something other than slurmkit wrote to this file, or its disk is damaged",
        ) from error
    if version != VERSION:
        raise LedgerError(
            f"{path}:{number}: written by a newer slurmkit (ledger version {version})",
            hint="read it with that release",
        )
    return Record(**own, fields=values)


class LedgerWriter:
    """Appends to one element's ledger; taking it over fences every earlier writer out.

    Args:
        element: whose ledger.
        incarnation: what ``new_incarnation`` gave.
    """

    def __init__(self, element: ElementDir, incarnation: str) -> None:
        self.incarnation = incarnation
        self._element = element
        element.path.mkdir(parents=True, exist_ok=True)
        atomic_write(element.fence_path, f"{incarnation}\n")
        self._descriptor = os.open(
            element.ledger_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        sync_folder(element.path)
        self._drop_torn_line()
        records = read_ledger(element.ledger_path)
        self._seq = records[-1].seq if records else 0

    def _drop_torn_line(self) -> None:
        """Cut the end of a record that a crash tore, so that the next one starts its own line."""
        data = self._element.ledger_path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.ftruncate(self._descriptor, data.rfind(b"\n") + 1)

    def append(
        self, event: str, attempt: int, *, at: float | None = None, **fields: object
    ) -> Record:
        """Write one record durably.

        Args:
            event: what happened.
            attempt: in which attempt, from 1.
            at: when it happened, Unix seconds; None for now.
            fields: the event's own fields; JSON values.

        Raises:
            StaleWriterError: a newer incarnation has taken over; nothing was written.
            OSError: the file system refuses.
        """
        check_fence(self._element, self.incarnation)
        when = time.time() if at is None else at
        record = Record(self._seq + 1, when, event, attempt, self.incarnation, dict(fields))
        own = {
            "v": VERSION,
            "seq": record.seq,
            "time": record.time,
            "event": event,
            "attempt": attempt,
            "incarnation": self.incarnation,
        }
        # ASCII alone: no character in it can end the line early, whatever a rank printed.
        line = json.dumps({**own, **fields}, separators=(",", ":")).encode("ascii") + b"\n"
        written = os.write(self._descriptor, line)
        if written != len(line):  # a full disk took a part: take it back
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(28, "no space left for a ledger record", str(self._element.ledger_path))
        os.fsync(self._descriptor)
        self._seq += 1
        return record

    def close(self) -> None:
        """Close the file; the fence stays, for the next incarnation to take."""
        os.close(self._descriptor)


def check_fence(element: ElementDir, incarnation: str) -> None:
    """Return when this incarnation may write the element's ledger.

    Raises:
        StaleWriterError: a newer one has taken it over.
        OSError: the fence cannot be read.
    """
    holder = element.fence_path.read_text(encoding="utf-8").strip()
    if holder != incarnation:
        raise StaleWriterError(
            f"{element.path} now belongs to incarnation {holder}, not {incarnation}",
            hint="the job was started anew while this one was still alive; this one stops",
        )
