"""Digests (xxh3_128) that are made while bytes are written, and checked while they are read.

A chunk is digested right before it is written, or right after it was read, while it is in the
processor's cache: one pass over memory instead of two.
"""

import contextlib
import os
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from slurmkit.checkpoint.errors import SaveFailedError, save_error

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

ALGORITHM = "xxh3_128"
_WRITE_CHUNK_BYTES = 4 << 20
READ_CHUNK_BYTES = 1 << 20


def start_writing(descriptor: int, start: int, length: int) -> None:
    """Let the kernel write a range to the disk now, so that fsync has less to wait for.

    For dirty pages this advice does that and does not wait (mm/fadvise.c).
    """
    with contextlib.suppress(OSError):  # a file system may not know this
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


@dataclass(frozen=True)
class FileEntry:
    """One file of a step as it was written.

    Attributes:
        name: inside the folder of the step; ``/`` separates folders.
        size_bytes: its length.
        digest: xxh3_128 of its bytes, 32 hexadecimal digits.
    """

    name: str
    size_bytes: int
    digest: str


def digest_of(data: "Buffer") -> str:
    """Return the digest of bytes in memory."""
    return xxhash.xxh3_128_hexdigest(data)


def flat(data: "Buffer") -> memoryview:
    """Return a buffer as plain bytes, without copying.

    Raises:
        ValueError: the buffer is not contiguous in memory.
    """
    view = memoryview(data)
    if not view.nbytes:
        return memoryview(b"")  # a view with a zero in its shape cannot be cast
    if not view.c_contiguous:
        raise ValueError("only contiguous buffers can be written; make a contiguous copy first")
    return view.cast("B")


class DigestingFile:
    """A new file that is digested while it is written, and durable when `close` returns.

    Not for several threads at once; several files can be written by several threads, as hashing
    and writing release the interpreter's lock.

    Args:
        name: what the file is called inside the step.
        descriptor: open for writing, at the start of an empty file; closed by this object.
        path: for messages.
    """

    def __init__(self, name: str, descriptor: int, path: Path) -> None:
        self.name = name
        self.path = path
        self._descriptor = descriptor
        self._hash = xxhash.xxh3_128()
        self._size_bytes = 0
        self._error: OSError | None = None
        self._entry: FileEntry | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._descriptor < 0

    def writable(self) -> bool:
        """Return True, as libraries ask that take a file."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written so far."""
        return self._size_bytes

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def write(self, data: "Buffer") -> int:
        """Write all of a buffer and return its size in bytes.

        Raises:
            NoSpaceError: the file system, the quota or the file size limit is exhausted.
            SaveFailedError: any other error of the operating system.
            ValueError: the file is closed, or the buffer is not contiguous.
        """
        if self.closed:
            raise ValueError(f"{self.path} is closed")
        view = flat(data)
        for start in range(0, len(view), _WRITE_CHUNK_BYTES):
            self._write_chunk(view[start : start + _WRITE_CHUNK_BYTES])
        return len(view)

    def _write_chunk(self, chunk: memoryview) -> None:
        self._hash.update(chunk)
        start = self._size_bytes
        rest = chunk
        try:
            while rest:  # write(2) may take less than it was given, most of all on a full disk
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._error = error
            raise save_error(f"{self.path} cannot be written", error) from error
        self._size_bytes += len(chunk)
        start_writing(self._descriptor, start, len(chunk))

    def close(self) -> FileEntry:
        """Sync the file to the disk, close it and return its entry; again returns the same.

        Raises:
            NoSpaceError, SaveFailedError: what was written before did not reach the disk, or the
                file is not as long as what was written.
        """
        if self._entry:
            return self._entry
        if self.closed or self._error:
            self.discard()
            raise SaveFailedError(f"{self.path} was not written completely")
        descriptor, self._descriptor = self._descriptor, -1
        try:
            try:
                os.fsync(descriptor)
                length = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)  # NFS may report a full quota only here
        except OSError as error:
            self._error = error
            raise save_error(f"{self.path} cannot be written", error) from error
        if length != self._size_bytes:
            raise SaveFailedError(
                f"{self.path} has {length} bytes, but {self._size_bytes} were written",
                hint="does somebody else write to this file?",
            )
        self._entry = FileEntry(self.name, self._size_bytes, self._hash.hexdigest())
        return self._entry

    def discard(self) -> None:
        """Close the file without waiting for the disk; it is no part of the checkpoint."""
        if not self.closed:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
