"""The supervisor's ledger, written by a thread of its own: a slow disk holds nothing else up."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from slurmkit.rundir.ledger import LedgerWriter, StaleWriterError

_RETRY_S = 1.0
_CLOSE_WITHIN_S = 10.0


@dataclass(frozen=True)
class _Entry:
    event: str
    attempt: int
    time: float
    fields: dict[str, object]


class Journal:
    """Takes records at once and makes them durable in order.

    A full disk or a lost file system must not end a run that computes: what cannot be written is
    kept and tried again, so that nothing is missing once there is room.

    Args:
        ledger: the element's ledger, which this incarnation holds.
        on_stale: is told, in the writing thread, that a newer incarnation has taken over; nothing
            more is written then.
        warn: is told, in the writing thread, what went wrong.
    """

    def __init__(
        self,
        ledger: LedgerWriter,
        on_stale: Callable[[StaleWriterError], None],
        warn: Callable[[str], None],
    ) -> None:
        self.incarnation = ledger.incarnation
        self.stale = False
        self._ledger = ledger
        self._on_stale = on_stale
        self._warn = warn
        self._waiting: queue.SimpleQueue[_Entry | threading.Event | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slurmkit-ledger", daemon=True)
        self._thread.start()

    def note(self, event: str, attempt: int, **fields: object) -> None:
        """Write a record soon; may be called in any thread.

        Args:
            event: what has happened now.
            attempt: in which attempt, from 1.
            fields: the event's own fields.
        """
        self.note_past(event, attempt, time.time(), fields)

    def note_past(self, event: str, attempt: int, at: float, fields: dict[str, object]) -> None:
        """Write a record of what happened at another moment, in Unix seconds."""
        self._waiting.put(_Entry(event, attempt, at, fields))

    async def flush(self, timeout_s: float = _CLOSE_WITHIN_S) -> bool:
        """Return once all that was noted before is durable; False when that took too long."""
        written = threading.Event()
        self._waiting.put(written)
        return await asyncio.to_thread(written.wait, timeout_s)

    def close(self, timeout_s: float = _CLOSE_WITHIN_S) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join(timeout_s)
        self._closing.set()  # a disk that is still full gets no more tries
        self._thread.join(_RETRY_S)

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            if item is None:
                return
            if isinstance(item, threading.Event):
                item.set()
            elif not self.stale:
                self._write(item)

    def _write(self, entry: _Entry) -> None:
        warned = False
        while True:
            try:
                self._ledger.append(entry.event, entry.attempt, at=entry.time, **entry.fields)
            except StaleWriterError as error:
                self.stale = True
                self._on_stale(error)
            except OSError as error:
                if not warned:
                    self._warn(f"the ledger could not be written, trying again: {error}")
                    warned = True
                if not self._closing.wait(_RETRY_S):
                    continue
            return
