"""Reading pieces of files into tensors, each block checked while it is in the processor's cache.

Bytes go straight to where they belong when that is contiguous memory of this host; else through
memory of their own, as to a device. Several threads read: the system calls and the digests let go
of the interpreter's lock.
"""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import torch
import xxhash

from slurmkit.checkpoint.errors import CorruptCheckpointError
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.reading import corrupt, open_checked, read_error, read_verified
from slurmkit.checkpoint.tensors.blocks import BLOCK_BYTES, DIGEST_BYTES
from slurmkit.checkpoint.tensors.index import blocks_file, rank_file
from slurmkit.checkpoint.tensors.memory import bytes_of, is_plain

if TYPE_CHECKING:
    from typing_extensions import Self

_BATCH_BYTES = 256 << 20  # what may be in memory of its own at a time
_MOST_BUFFERS = 512  # IOV_MAX is 1024; preadv(2)
_MOST_BLOCKS = 32  # per share of a thread
_LEAST_THREADS = 2  # one digests while the other waits for the file
_MOST_THREADS = 8


@dataclass(frozen=True)
class Piece:
    """Bytes of a rank's file, and the tensor that they become.

    Attributes:
        rank: whose file.
        place: the first byte.
        length: how many.
        target: a tensor in place; of any strides, on any device.
        shape: of the rows that are read, when only a part of them is wanted.
        cut: which part.
    """

    rank: int
    place: int
    length: int
    target: torch.Tensor
    shape: tuple[int, ...] = ()
    cut: tuple[slice, ...] = ()


@dataclass(frozen=True)
class _Span:
    """Bytes of one file and the memory that they go to."""

    start: int
    end: int
    memory: memoryview


def read_pieces(manifest: Manifest, pieces: Sequence[Piece]) -> None:
    """Read pieces of a step; every block that is touched is verified.

    Raises:
        CorruptCheckpointError: a block is not what was written; targets may hold parts of it.
        CheckpointError: a file cannot be read right now.
    """
    threads = max(_LEAST_THREADS, min(_MOST_THREADS, torch.get_num_threads()))
    ordered = sorted((piece for piece in pieces if piece.length), key=lambda p: (p.rank, p.place))
    with ThreadPoolExecutor(threads, "slurmkit-load") as pool:
        for rank, mine in groupby(ordered, key=lambda piece: piece.rank):
            with _RankFile(manifest, rank) as file:
                for batch in _batches(mine):
                    _read_batch(file, batch, pool, threads)


def _read_batch(
    file: "_RankFile", batch: list[Piece], pool: ThreadPoolExecutor, threads: int
) -> None:
    spans, later = [], []
    for piece in batch:
        memory = _direct(piece)
        if memory is None:
            buffer = torch.empty(piece.length, dtype=torch.uint8)
            later.append((piece, buffer))
            memory = bytes_of(buffer)
        spans.append(_Span(piece.place, piece.place + piece.length, memory))
    blocks = list(_blocks(spans))
    # Shares are small, so that a thread whose core is busy otherwise holds up nobody
    share = min(_MOST_BLOCKS, math.ceil(len(blocks) / threads))
    parts = [blocks[start : start + share] for start in range(0, len(blocks), share)]
    for done in [pool.submit(file.read_blocks, part) for part in parts]:
        done.result()
    for piece, buffer in later:
        rows = buffer.view(piece.target.dtype).view(piece.shape or piece.target.shape)
        with torch.no_grad():
            piece.target.copy_(rows[piece.cut] if piece.cut else rows)


def _direct(piece: Piece) -> memoryview | None:
    """Return the target's own memory, when the bytes can be read straight into it."""
    return bytes_of(piece.target) if is_plain(piece.target) and not piece.cut else None


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Cut into batches of limited size, in none of which two pieces share a byte of the file."""
    batch: list[Piece] = []
    total = end = 0
    for piece in pieces:
        if batch and (total + piece.length > _BATCH_BYTES or piece.place < end):
            yield batch
            batch, total = [], 0
        batch.append(piece)
        total += piece.length
        end = piece.place + piece.length
    if batch:
        yield batch


def _blocks(spans: Sequence[_Span]) -> Iterator[tuple[int, list[_Span]]]:
    """Return each block that the spans touch, by number, with the parts of spans in it."""
    open_number = -1
    parts: list[_Span] = []
    for span in spans:
        for number in range(span.start // BLOCK_BYTES, -(-span.end // BLOCK_BYTES)):
            if number != open_number:
                if parts:
                    yield open_number, parts
                open_number, parts = number, []
            start = max(span.start, number * BLOCK_BYTES)
            end = min(span.end, (number + 1) * BLOCK_BYTES)
            parts.append(_Span(start, end, span.memory[start - span.start : end - span.start]))
    if parts:
        yield open_number, parts


class _RankFile:
    """The open file of a rank and the digests of its blocks."""

    def __init__(self, manifest: Manifest, rank: int) -> None:
        self._manifest = manifest
        self._name = rank_file(rank)
        try:
            self._digests = bytes(read_verified(manifest, blocks_file(rank)))
            entry = manifest.entry(self._name)
        except KeyError as error:
            raise CorruptCheckpointError(
                f"{manifest.folder}: {error.args[0]}", step=manifest.step
            ) from error
        self._size = entry.size_bytes
        if len(self._digests) != -(-self._size // BLOCK_BYTES) * DIGEST_BYTES:
            raise corrupt(manifest, blocks_file(rank), "does not fit the file of its rank")
        self._descriptor = open_checked(manifest, entry)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read_blocks(self, blocks: Sequence[tuple[int, list[_Span]]]) -> None:
        """Read and verify whole blocks; what is not wanted of them goes to a scratch buffer."""
        scratch = memoryview(bytearray(BLOCK_BYTES))
        for number, parts in blocks:
            self._read_block(number, parts, scratch)

    def _read_block(self, number: int, parts: list[_Span], scratch: memoryview) -> None:
        start = number * BLOCK_BYTES
        end = min(start + BLOCK_BYTES, self._size)
        if parts[-1].end > end:
            raise corrupt(self._manifest, self._name, "is shorter than its index says")
        many = len(parts) * 2 > _MOST_BUFFERS
        buffers = [scratch[: end - start]] if many else list(_filled(parts, start, end, scratch))
        self._read(start, end - start, buffers)
        hasher = xxhash.xxh3_128()
        for buffer in buffers:
            hasher.update(buffer)
        if hasher.digest() != self._digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]:
            raise corrupt(
                self._manifest,
                self._name,
                f"has other bytes than were written between {start} and {end} (wrong digest)",
            )
        if many:
            for part in parts:
                part.memory[:] = scratch[part.start - start : part.end - start]

    def _read(self, start: int, length: int, buffers: Sequence[memoryview]) -> None:
        try:
            got = os.preadv(self._descriptor, buffers, start)
            if 0 < got < length:  # a signal, or a network file system, cut it short
                got += self._read_rest(start, got, length, buffers)
        except OSError as error:
            raise read_error(self._manifest, self._name, error) from error
        if got != length:
            raise corrupt(self._manifest, self._name, "became shorter while it was read")

    def _read_rest(self, start: int, got: int, length: int, buffers: Sequence[memoryview]) -> int:
        more = bytearray()
        while got + len(more) < length:
            data = os.pread(self._descriptor, length - got - len(more), start + got + len(more))
            if not data:
                return len(more)
            more += data
        position = -got
        for buffer in buffers:
            for_here = max(0, -position)
            taken = max(0, position)
            position += len(buffer)
            if position > 0:
                buffer[for_here:] = more[taken:position]
        return len(more)


def _filled(
    parts: Sequence[_Span], start: int, end: int, scratch: memoryview
) -> Iterator[memoryview]:
    """Return memory for every byte of a block, with scratch where nothing is wanted."""
    at = start
    for part in parts:
        if part.start > at:
            yield scratch[at - start : part.start - start]
        yield part.memory
        at = part.end
    if end > at:
        yield scratch[at - start : end - start]
