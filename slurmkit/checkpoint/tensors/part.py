"""One rank's part of a save, from bytes to a report; and the commit, on rank 0.

Without torch: the writer process runs it on staged memory, and a synchronous save on tensors.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from slurmkit.checkpoint.digest import FileEntry
from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors.blocks import BlockFile
from slurmkit.checkpoint.tensors.index import INDEX_NAME, blocks_file, rank_file
from slurmkit.checkpoint.writer import StepWriter
from slurmkit.record import Record

_log = logging.getLogger(__name__)
_SMALL = 256 << 10


class Place(Record):
    """Where a rank stands, and how long rank 0 waits for the others.

    Attributes:
        rank: this rank.
        world_size: how many there are.
        timeout_s: how long rank 0 waits for the reports of all ranks, seconds.
    """

    rank: int
    world_size: int
    timeout_s: float


class Work(Record):
    """What a rank has to write.

    Attributes:
        step: which step.
        size_bytes: of the rank's file.
        pieces: its bytes in order.
        index: bytes of the index, on rank 0; empty elsewhere.
        extra: JSON for the manifest; the part has it, too, for a commit that is made later.
    """

    step: int
    size_bytes: int
    pieces: Iterable[memoryview]
    index: memoryview
    extra: dict[str, Any]


def write_part(store: CheckpointStore, place: Place, work: Work) -> StepWriter:
    """Write this rank's files and report; when that fails, every rank learns it.

    Args:
        store: the checkpoint folder.
        place: this rank.
        work: what to write.

    Raises:
        CheckpointError, OSError: this rank's part failed; it has been said so in the folder.
    """
    try:
        writer = store.begin(work.step, size_bytes=work.size_bytes + len(work.index))
    except CheckpointError as error:
        with contextlib.suppress(CheckpointError):  # no space for the data may be space for a word
            store.begin(work.step).fail(place.rank, error)
        raise
    try:
        entries = list(_entries(writer, place.rank, work.pieces, work.index))
        writer.report(place.rank, entries, {"extra": work.extra} if place.rank == 0 else {})
    except BaseException as error:
        give_up(writer, place, error)
        raise
    return writer


def finish(
    store: CheckpointStore, writer: StepWriter, place: Place, extra: dict[str, Any]
) -> Manifest:
    """Wait for all ranks, commit and prune; rank 0 calls this.

    Raises:
        CheckpointError: a rank failed or did not report in time, or the commit failed; nothing
            was committed.
        TypeError: `extra` is no JSON.
    """
    reports = writer.await_reports(place.world_size, place.timeout_s)
    manifest = writer.commit(reports, extra=extra)
    try:
        store.prune()
    except (CheckpointError, OSError) as error:
        _log.warning(
            "step %d is committed, but older steps cannot be removed: %s", writer.step, error
        )
    return manifest


def give_up(writer: StepWriter, place: Place, error: BaseException) -> None:
    """Say that this rank's part failed; rank 0 also removes the folder."""
    writer.fail(place.rank, error)
    if place.rank == 0:
        writer.abort()


def _entries(
    writer: StepWriter, rank: int, pieces: Iterable[memoryview], index: memoryview
) -> Iterator[FileEntry]:
    with writer.open(rank_file(rank)) as data:
        file = BlockFile(data)
        for piece in _joined(pieces):
            file.write(piece)
        entry, digests = file.close()
    yield entry
    with writer.open(blocks_file(rank)) as blocks:
        blocks.write(digests)
        yield blocks.close()
    if index:
        with writer.open(INDEX_NAME) as text:
            text.write(index)
            yield text.close()


def _joined(pieces: Iterable[memoryview]) -> Iterator[memoryview]:
    """Join small pieces, so that thousands of small tensors are not thousands of writes."""
    gathered = bytearray()
    for piece in pieces:
        if len(piece) < _SMALL:
            gathered += piece
            if len(gathered) < _SMALL:
                continue
            piece = memoryview(b"")  # noqa: PLW2901
        if gathered:
            yield memoryview(bytes(gathered))
            gathered = bytearray()
        if piece:
            yield piece
    if gathered:
        yield memoryview(bytes(gathered))
