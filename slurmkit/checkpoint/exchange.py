"""Give a complete folder its final name, also where a step of that name exists already."""

import ctypes
import errno
import os
from pathlib import Path

from slurmkit.checkpoint.layout import MANIFEST_NAME, discard

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # renameat2(2)


def put_in_place(temporary: Path, final: Path, manifest: bytes) -> None:
    """Rename a folder; a committed step of that name is replaced.

    A step is there already when a run was started again from an older step on purpose. Where the
    file system can, both change places in one operation, so that there is a committed step at
    every instant. Elsewhere, as on NFS, the old one is taken away first.

    Args:
        temporary: the complete folder.
        final: its new name.
        manifest: the bytes of its manifest, to recognise it.

    Raises:
        OSError: the file system refuses; the old step may be gone then, never any other.
    """
    try:
        temporary.rename(final)
    except OSError as error:
        if error.errno == errno.ENOENT and _reads(final / MANIFEST_NAME) == manifest:
            return  # the reply was lost and NFS asked again, for what it had done (nfs(5), soft)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if _exchange(temporary, final):
            discard(temporary)
        else:
            discard(final)
            temporary.rename(final)


def _reads(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one operation; False where the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(other))
