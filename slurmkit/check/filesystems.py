"""On which file system a path lies, and whether other machines see the same files there."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")
# Types that several machines mount at once.
_SHARED = (
    "nfs",
    "lustre",
    "gpfs",
    "mmfs",
    "beegfs",
    "ceph",
    "fuse.",
    "wekafs",
    "panfs",
    "pvfs2",
    "orangefs",
    "9p",
    "cifs",
    "smb",
    "afs",
    "virtiofs",
    "gfs2",
    "ocfs2",
    "glusterfs",
    "vast",
    "quobyte",
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
# Folders that each machine has for itself (hier(7)); many sites give each job its own /tmp besides.
_OWN_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - named, not used


class FileSystems:
    """The mounted file systems, read once.

    Args:
        mounts: lines of /proc/self/mounts; None reads them.
    """

    def __init__(self, mounts: Iterable[str] | None = None) -> None:
        self._types: dict[str, str] = {}
        for line in _read() if mounts is None else mounts:
            fields = line.split()
            if len(fields) >= 3:
                # A later mount at the same place hides the earlier one.
                self._types[_OCTAL.sub(lambda m: chr(int(m[1], 8)), fields[1])] = fields[2]

    def type_of(self, path: str) -> str:
        """Return the type of the file system that holds a path; empty when unknown."""
        return self._types.get(self._mount_point(path), "")

    def _mount_point(self, path: str) -> str:
        current = os.path.realpath(path)
        while current not in self._types:
            parent = os.path.dirname(current)  # noqa: PTH120 - realpath needs no second pathlib
            if parent == current:
                return ""
            current = parent
        return current

    def is_node_local(self, path: str) -> bool:
        """Tell whether each machine has files of its own there."""
        kind = self.type_of(path)
        if kind.startswith(_SHARED):
            return False
        if kind in _IN_MEMORY:
            return True
        if self._mount_point(path).startswith(tuple(f"{top}/" for top in _OWN_FOLDERS)):
            return False  # what is mounted below such a folder was put there on purpose
        real = os.path.realpath(path)
        return any(real == top or real.startswith(f"{top}/") for top in _OWN_FOLDERS)


def _read() -> list[str]:
    try:
        return _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
