"""The file below an HDF5 file that is being written: it survives a full disk, HDF5 does not.

Measured with h5py 3.16 and HDF5 2.0 on a full disk: what is left in HDF5's caches fails while
Python objects are freed, where nobody can see it, and then the process dies of a segmentation
fault when the file is closed. So this object lies between HDF5 and the disk (h5py's driver
``fileobj``). It never fails a call: it keeps the first error, goes on as if nothing had
happened, and whoever writes asks for the error.
"""

import os
from typing import TYPE_CHECKING

from slurmkit.checkpoint.digest import start_writing

if TYPE_CHECKING:
    from typing_extensions import Buffer

# After an error metadata, which HDF5 may read again, is kept in memory; large writes are data.
_KEPT_BYTES = 1 << 20
_CHUNK_BYTES = 4 << 20


class GuardedFile:
    """A file-like object over a descriptor for `h5py.File(..., driver="fileobj")`.

    Args:
        descriptor: open for reading and writing; closed by `close`.

    Attributes:
        error: the first error of the operating system; None while all is well.
    """

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._place = 0
        self._length = 0
        self._kept: list[tuple[int, bytes]] = []

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place and return it."""
        self._place = offset + (0, self._place, self._length)[whence]
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def write(self, data: "Buffer") -> int:
        """Write all of it, or keep the error and claim so."""
        view = memoryview(data).cast("B")
        if not self.error:
            try:
                self._write_all(view)
            except OSError as error:
                self.error = error
        if self.error and len(view) <= _KEPT_BYTES:
            self._kept.append((self._place, bytes(view)))
        self._place += len(view)
        self._length = max(self._length, self._place)
        return len(view)

    def _write_all(self, view: memoryview) -> None:
        place = self._place
        while view:
            written = os.pwrite(self._descriptor, view[:_CHUNK_BYTES], place)
            start_writing(self._descriptor, place, written)
            view = view[written:]
            place += written

    def readinto(self, target: "Buffer") -> int:
        """Fill a buffer; what is not there reads as zeros."""
        view = memoryview(target).cast("B")
        try:
            count = os.preadv(self._descriptor, [view], self._place)
        except OSError as error:
            self.error = self.error or error
            count = 0
        view[count:] = bytes(len(view) - count)
        for place, data in self._kept:
            first, last = max(place, self._place), min(place + len(data), self._place + len(view))
            if first < last:
                view[first - self._place : last - self._place] = data[first - place : last - place]
        self._place += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        self._length = self._place if size is None else size
        try:
            os.ftruncate(self._descriptor, self._length)
        except OSError as error:
            self.error = self.error or error
        return self._length

    def flush(self) -> None:
        """Do nothing: there is no buffer, and syncing comes later."""

    def close(self) -> None:
        """Close the descriptor; again does nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                os.close(descriptor)
            except OSError as error:
                self.error = self.error or error
