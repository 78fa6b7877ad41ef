"""Reading files of a step so that nobody gets a byte that is not the one that was written."""

import errno
import mmap
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from slurmkit.checkpoint.digest import READ_CHUNK_BYTES, FileEntry, digest_of, flat
from slurmkit.checkpoint.errors import CheckpointError, CorruptCheckpointError
from slurmkit.checkpoint.manifest import Manifest

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

# The file or the disk below it is damaged; anything else may be better the next time.
_DAMAGED = (
    errno.ENOENT,
    errno.EIO,
    errno.ENODATA,
    errno.EBADMSG,
    errno.EUCLEAN,
    errno.ELOOP,  # a link in its place
    errno.ENXIO,
)


def walk(folder: Path) -> dict[str, int]:
    """Return every file below a folder by its name there, with its size in bytes.

    What is neither a plain file nor a folder, such as a link, counts with size -1.
    """
    sizes: dict[str, int] = {}
    for top, folders, names in os.walk(folder):
        links = [name for name in folders if Path(top, name).is_symlink()]
        for name in [*names, *links]:
            path = Path(top, name)
            status = path.lstat()
            plain = stat.S_ISREG(status.st_mode)
            sizes[path.relative_to(folder).as_posix()] = status.st_size if plain else -1
    return sizes


def fresh_size(path: Path) -> int | None:
    """Return the length of a file as the server knows it; None when it is not there.

    Of a file that another node has just written, an NFS client may have an old length in its cache
    for some seconds; opening the file asks the server (close-to-open, nfs(5)).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def digest_file(descriptor: int) -> tuple[int, str]:
    """Return the length and the digest of an open file, from its current position on."""
    total = 0
    hasher = xxhash.xxh3_128()
    buffer = memoryview(bytearray(READ_CHUNK_BYTES))
    while length := os.readv(descriptor, [buffer]):
        hasher.update(buffer[:length])
        total += length
    return total, hasher.hexdigest()


def sync_and_digest(descriptor: int) -> tuple[int, str]:
    """Sync a file that was just written and digest it at the same time; return as `digest_file`.

    Raises:
        OSError: it cannot be synced or read.
    """
    with ThreadPoolExecutor(1, "sync") as pool:
        synced = pool.submit(os.fsync, descriptor)
        found = digest_file(descriptor)
        synced.result()
    return found


class DigestingReader:
    """Reads one file of a step from begin to end and checks its digest when it has all of it.

    Args:
        manifest: the step.
        name: which file.

    Raises:
        KeyError: the step has no such file.
        CorruptCheckpointError: it is missing or has another length.
    """

    def __init__(self, manifest: Manifest, name: str) -> None:
        self.entry: FileEntry = manifest.entry(name)
        self._manifest = manifest
        self._hash = xxhash.xxh3_128()
        self._left_bytes = self.entry.size_bytes
        self._descriptor = open_checked(manifest, self.entry)

    def readinto(self, target: "Buffer") -> int:
        """Fill a buffer as far as the file goes and return how many bytes that was.

        Raises:
            CorruptCheckpointError: the file ended early, or this was the last of it and the digest
                is wrong.
        """
        view = memoryview(target).cast("B")
        wanted = min(len(view), self._left_bytes)
        for start in range(0, wanted, READ_CHUNK_BYTES):
            self._read_chunk(view[start : min(start + READ_CHUNK_BYTES, wanted)])
        if not self._left_bytes and self._hash.hexdigest() != self.entry.digest:
            raise wrong_digest(self._manifest, self.entry)
        return wanted

    def _read_chunk(self, chunk: memoryview) -> None:
        rest = chunk
        while rest:
            try:
                length = os.readv(self._descriptor, [rest])
            except OSError as error:
                raise read_error(self._manifest, self.entry.name, error) from error
            if not length:
                raise corrupt(self._manifest, self.entry.name, "became shorter while it was read")
            rest = rest[length:]
        self._hash.update(chunk)
        self._left_bytes -= len(chunk)

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, or the rest of the file; raises as `readinto` does."""
        wanted = self._left_bytes if size < 0 else min(size, self._left_bytes)
        data = bytearray(wanted)
        self.readinto(data)
        return bytes(data)

    def close(self) -> None:
        """Close the file; a file that was not read to its end was not checked."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_verified(manifest: Manifest, name: str) -> bytearray:
    """Return a whole file of a step.

    Raises:
        KeyError: the step has no such file.
        CorruptCheckpointError: it is not what was written.
    """
    with DigestingReader(manifest, name) as reader:
        data = bytearray(reader.entry.size_bytes)
        reader.readinto(data)
        return data


def read_verified_into(manifest: Manifest, name: str, target: "Buffer") -> None:
    """Read a whole file of a step into memory that is there already, such as a tensor's.

    The target holds garbage after an error.

    Raises:
        KeyError: the step has no such file.
        ValueError: the target has another size.
        CorruptCheckpointError: it is not what was written.
    """
    view = flat(target)
    with DigestingReader(manifest, name) as reader:
        if len(view) != reader.entry.size_bytes:
            raise ValueError(
                f"{name} has {reader.entry.size_bytes} bytes, the target has {len(view)}"
            )
        reader.readinto(view)


def map_verified(manifest: Manifest, name: str) -> memoryview:
    """Return a file of a step as read-only memory, after reading all of it once to check it.

    For who needs pieces of a large file: pages come from the page cache.

    Raises:
        KeyError: the step has no such file.
        CorruptCheckpointError: it is not what was written.
    """
    entry = manifest.entry(name)
    descriptor = open_checked(manifest, entry)
    try:
        if not entry.size_bytes:
            return memoryview(b"")
        mapped = memoryview(mmap.mmap(descriptor, entry.size_bytes, prot=mmap.PROT_READ))
    finally:
        os.close(descriptor)
    if digest_of(mapped) != entry.digest:
        raise wrong_digest(manifest, entry)
    return mapped


def verify_file(manifest: Manifest, entry: FileEntry) -> None:
    """Read one file of a step and compare its digest.

    Raises:
        CorruptCheckpointError: it is not what was written.
    """
    descriptor = open_checked(manifest, entry)
    try:
        size_bytes, digest = digest_file(descriptor)
    except OSError as error:
        raise read_error(manifest, entry.name, error) from error
    finally:
        os.close(descriptor)
    if (size_bytes, digest) != (entry.size_bytes, entry.digest):
        raise wrong_digest(manifest, entry)


def open_checked(manifest: Manifest, entry: FileEntry) -> int:
    """Open a file of a step for reading; it has to be a plain file of the right length.

    Raises:
        CorruptCheckpointError: it is missing, no plain file, or has another length.
    """
    try:
        path = manifest.path_of(entry.name)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise read_error(manifest, entry.name, error) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size == entry.size_bytes:
        return descriptor
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise corrupt(manifest, entry.name, "is no plain file")
    raise corrupt(
        manifest, entry.name, f"has {status.st_size} bytes, {entry.size_bytes} were written"
    )


def corrupt(manifest: Manifest, name: str, what: str) -> CorruptCheckpointError:
    """Return the error that says what is wrong with a file of a step."""
    return CorruptCheckpointError(f"{manifest.path_of(name)} {what}", step=manifest.step, file=name)


def wrong_digest(manifest: Manifest, entry: FileEntry) -> CorruptCheckpointError:
    """Return the error for a file whose bytes are not those that were written."""
    return corrupt(manifest, entry.name, "has other bytes than were written (wrong digest)")


def read_error(manifest: Manifest, name: str, error: OSError) -> CheckpointError:
    """Return what an error while reading means: damage, or something that may pass."""
    path = manifest.path_of(name)
    if error.errno in _DAMAGED:
        what = "is missing" if error.errno == errno.ENOENT else f"cannot be read: {error.strerror}"
        return corrupt(manifest, name, what)
    return CheckpointError(f"{path} cannot be read: {error.strerror or error}")
