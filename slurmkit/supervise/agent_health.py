"""Notices that the site's health program wants the jobs of this node to leave it."""

import os
from pathlib import Path

from slurmkit.health.published import published_path, read_published


class NodeHealth:
    """Looks at what the health program publishes, cheaply: once per heartbeat.

    Args:
        path: the file; None for the usual place.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = os.fspath(path or published_path())
        self._seen: tuple[int, int] | None = None
        self._told = False

    def news(self) -> str:
        """Return why the jobs have to leave, once; empty when they need not, or know already."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 (no pathlib in each heartbeat)
        except OSError:
            return ""
        mark = (found.st_mtime_ns, found.st_ino)
        # Root alone may send jobs away: on a node without a health program anybody could have
        # made the file.
        if mark == self._seen or found.st_uid != 0:
            return ""
        self._seen = mark
        said = read_published(Path(self._path))
        why = said.evict if said is not None else ""
        if not why:
            self._told = False
        elif not self._told:
            self._told = True
            return why
        return ""
