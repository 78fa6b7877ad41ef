"""The ledger behind its thread: order, times, a full disk, a newer incarnation."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from slurmkit.rundir.layout import ElementDir
from slurmkit.rundir.ledger import LedgerWriter, StaleWriterError, read_ledger
from slurmkit.supervise.journal import Journal


def _journal(tmp_path: Path, said: list[object]) -> Journal:
    return Journal(LedgerWriter(ElementDir(tmp_path), "7.0.aa"), said.append, said.append)


def test_records_are_in_order_and_durable_after_a_flush(tmp_path: Path) -> None:
    journal = _journal(tmp_path, [])
    for number in range(50):
        journal.note("progress", 1, step=number)
    journal.note_past("checkpoint_committed", 1, 5.0, {"step": 3})
    assert asyncio.run(journal.flush())
    records = read_ledger(tmp_path / "ledger.jsonl")
    assert [record.fields["step"] for record in records] == [*range(50), 3]
    assert records[-1].time == 5.0
    journal.close()


def test_what_a_full_disk_refuses_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer waits with it in hand, and nobody else does."""
    full = True
    write = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if full and b'"event"' in data:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    said: list[object] = []
    journal = _journal(tmp_path, said)
    monkeypatch.setattr(os, "write", refuse)
    before = time.time()
    journal.note("attempt_started", 1)
    assert not asyncio.run(journal.flush(0.2))
    assert time.time() - before < 2
    full = False
    assert asyncio.run(journal.flush(10))
    assert len(said) == 1
    assert "No space left" in str(said[0])
    record = read_ledger(tmp_path / "ledger.jsonl")[-1]
    assert (record.event, record.time < before + 0.2) == ("attempt_started", True)
    journal.close()


def test_a_newer_incarnation_silences_it(tmp_path: Path) -> None:
    said: list[object] = []
    journal = _journal(tmp_path, said)
    LedgerWriter(ElementDir(tmp_path), "7.1.bb").append("incarnation_started", 1)
    journal.note("progress", 1, step=1)
    journal.note("progress", 1, step=2)
    assert asyncio.run(journal.flush())
    assert journal.stale
    assert [type(item) for item in said] == [StaleWriterError]
    assert len(read_ledger(tmp_path / "ledger.jsonl")) == 1
    journal.close()
