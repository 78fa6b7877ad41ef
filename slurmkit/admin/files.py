"""Files of an administrator: written elsewhere and renamed, and told apart by what is in them."""

import errno
import hashlib
import os
from pathlib import Path

from slurmkit.errors import SlurmkitError


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Write elsewhere and rename.

    The temporary file lies in the folder above where a rename from there works: a folder such as
    plugstack.conf.d may be included as a whole. Else its name starts with a dot, which ``*`` skips.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.parent
    if not os.access(folder, os.W_OK):
        folder = path.parent
    try:
        _write_and_rename(folder, path, content)
    except OSError as error:
        if error.errno != errno.EXDEV:  # the folder is a mount of its own
            raise
        _write_and_rename(path.parent, path, content)


def _write_and_rename(folder: Path, path: Path, content: bytes) -> None:
    temporary = folder / f".slurmkit-{path.name}.{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777 if path.exists() else 0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def cannot(error: OSError) -> SlurmkitError:
    """Return the error that names the file."""
    return SlurmkitError(
        f"{error.filename}: {error.strerror}", hint="run it as root, on every node or in its image"
    )
