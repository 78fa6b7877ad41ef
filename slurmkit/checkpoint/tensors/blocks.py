"""Digests of a file block by block, so that a reader can check just the part that it needs.

The manifest has one digest per file, which only who reads all of the file can check. On another
number of ranks each rank reads parts of files; the digests of 1 MiB blocks, in a file of their own
that the manifest covers, let it check these parts while they are in the processor's cache.
"""

from typing import TYPE_CHECKING

import xxhash

from slurmkit.checkpoint.digest import DigestingFile, FileEntry

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK_BYTES = 1 << 20
DIGEST_BYTES = 16
_PIECE_BYTES = 4 << 20  # small enough to be still in the cache when it is digested again


def block_digest(block: "Buffer") -> bytes:
    """Return the digest of one block."""
    return xxhash.xxh3_128_digest(block)


class BlockFile:
    """A file of a step that is digested as a whole and by blocks while it is written."""

    def __init__(self, file: DigestingFile) -> None:
        self._file = file
        self._digests = bytearray()
        self._hash = xxhash.xxh3_128()
        self._room = BLOCK_BYTES

    def write(self, data: memoryview) -> None:
        """Write plain bytes.

        Raises:
            NoSpaceError, SaveFailedError: as `DigestingFile.write`.
        """
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            self._digest(piece)
            self._file.write(piece)

    def close(self) -> tuple[FileEntry, bytes]:
        """Make the file durable and return its entry and the digests of its blocks.

        Raises:
            NoSpaceError, SaveFailedError: as `DigestingFile.close`.
        """
        if self._room < BLOCK_BYTES:
            self._end_block()
        return self._file.close(), bytes(self._digests)

    def _digest(self, data: memoryview) -> None:
        while data:
            block = data[: self._room]
            self._hash.update(block)
            self._room -= len(block)
            if not self._room:
                self._end_block()
            data = data[len(block) :]

    def _end_block(self) -> None:
        self._digests += self._hash.digest()
        self._hash.reset()
        self._room = BLOCK_BYTES
