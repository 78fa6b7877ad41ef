"""Checkpoint folders in memory where there is one, and steps with known content."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.store import CheckpointStore

Save = Callable[..., Manifest]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on tmpfs, where fsync costs nothing, so that thousands of saves are quick."""
    top = Path("/dev/shm")
    path = Path(
        tempfile.mkdtemp(prefix="checkpoint-", dir=top if os.access(top, os.W_OK) else None)
    )
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def save() -> Save:
    """Save a step as so many ranks as there are mappings of names to bytes."""

    def run(
        store: CheckpointStore, step: int, *ranks: Mapping[str, bytes], **extra: object
    ) -> Manifest:
        writers = [store.begin(step) for _ in ranks]
        for rank, (writer, files) in enumerate(zip(writers, ranks, strict=True)):
            entries = []
            for name, data in files.items():
                with writer.open(name) as file:
                    file.write(data)
                entries.append(file.close())
            writer.report(rank, entries)
        return writers[0].commit(writers[0].await_reports(len(ranks), 10), extra=dict(extra))

    return run
