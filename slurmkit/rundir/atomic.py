"""Durable writes: a file is either the old one or the whole new one, also after a crash."""

import errno
import os


def atomic_write(path: str | os.PathLike[str], data: bytes | str, mode: int = 0o644) -> None:
    """Write a file so that nobody ever sees half of it and it survives a crash once this returns.

    A temporary name in the same folder, fsync, rename, fsync of the folder.

    Args:
        path: where to; the folder must exist.
        data: bytes, or text to be encoded as UTF-8.
        mode: permissions, set before the first byte is written and not changed by the umask.

    Raises:
        OSError: the file system refuses; the old file is untouched and no temporary is left.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")  # noqa: PTH118 (hot path: no pathlib)
    payload = data.encode() if isinstance(data, str) else data
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.fchmod(descriptor, mode)
            write_all(descriptor, payload)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        os.unlink(temporary)  # noqa: PTH108
        raise
    sync_folder(folder or ".")


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, however many write() calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make renames, new names and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what fsync(2) gives where a folder has nothing to flush
            raise
    finally:
        os.close(descriptor)
