"""Single files below a root: read as states, written elsewhere and renamed, removed; all durable.

Every call here may be the last one: each leaves the old file or the new one.
"""

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from slurmkit.errors import SlurmkitError
from slurmkit.site.deploy.plan import FileState


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a content."""
    return hashlib.sha256(content).hexdigest()


def read_file(path: Path) -> tuple[FileState, bytes] | None:
    """Return a file's state and content; None when nothing is there.

    Raises:
        SlurmkitError: it is no plain file: a rename would replace a link by a file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _no_plain_file(path) from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _no_plain_file(path)
        content = file.read()
    mode = stat.S_IMODE(status.st_mode)
    return FileState(digest_of(content), mode, status.st_uid, status.st_gid), content


def _no_plain_file(path: Path) -> SlurmkitError:
    return SlurmkitError(
        f"{path} is no plain file", hint="move the link or folder away, or leave it out of the site"
    )


def write_file(path: Path, content: bytes, state: FileState, name: str) -> None:
    """Put a file at its place: a temporary one beside it, owner, mode, fsync, rename.

    Args:
        path: where to; its folder is there.
        content: what.
        state: with which mode and owner.
        name: of the temporary file; the same at a second try, so that a first one leaves nothing.
    """
    temporary = path.parent / name
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        status = os.fstat(descriptor)
        if (status.st_uid, status.st_gid) != (state.uid, state.gid):
            os.fchown(descriptor, state.uid, state.gid)
        os.fchmod(descriptor, state.mode)  # after chown, which may clear bits
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file that may be gone already."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_folder(path.parent)


def make_folders(path: Path) -> list[Path]:
    """Make a folder and those above it that are missing; return those made, outermost first."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    missing.reverse()
    for folder in missing:
        folder.mkdir(0o755)
        folder.chmod(0o755)  # whatever the umask says
        sync_folder(folder.parent)
    return missing


def remove_folder(path: Path) -> None:
    """Remove a folder if it is empty and there."""
    try:
        path.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise
        return
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has nothing to flush (fsync(2))
            raise
    finally:
        os.close(descriptor)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON record; only root reads it."""
    content = f"{json.dumps(record, indent=1, sort_keys=True)}\n".encode()
    state = FileState(digest_of(content), 0o600, os.geteuid(), os.getegid())
    write_file(path, content, state, f".{path.name}.new")


def read_record(path: Path) -> dict[str, Any]:
    """Return a JSON record; empty when there is none.

    Raises:
        SlurmkitError: it is broken.
    """
    found = read_file(path)
    if found is None:
        return {}
    try:
        record: dict[str, Any] = json.loads(found[1])
    except ValueError as error:
        raise SlurmkitError(f"{path} is broken: {error}") from error
    return record
