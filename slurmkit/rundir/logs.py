"""The log files of one attempt: one per rank, one merged, and few of them open at any time."""

import os
from pathlib import Path

from slurmkit.names import path_component
from slurmkit.rundir.atomic import write_all
from slurmkit.rundir.layout import rank_log_name

MERGED_NAME = "merged.log"
#: Below the usual soft limit of 1,024 open files, pipes and the rest included.
MAX_OPEN = 256


class AttemptLogs:
    """Appends to the files of one attempt.

    A full disk or a lost file system must not end a run that computes: what cannot be written is
    counted in ``lost_bytes`` and the first error kept in ``problem``.

    Args:
        folder: the attempt's folder, which exists.
        max_open: most files open at the same time.
    """

    def __init__(self, folder: Path, max_open: int = MAX_OPEN) -> None:
        self.folder = folder
        self.lost_bytes = 0
        self.problem: OSError | None = None
        self._max_open = max_open
        self._open: dict[str, int] = {}  # oldest use first

    def write_rank(self, rank: int, data: bytes) -> None:
        """Append to one rank's log."""
        self.write(rank_log_name(rank), data)

    def write_node(self, host: str, data: bytes) -> None:
        """Append to the log of what a launcher on one node said for itself."""
        self.write(self.node_log_path(host).name, data)

    def node_log_path(self, host: str) -> Path:
        """Return where a node's launcher's own words go."""
        return self.folder / f"node-{path_component(host)}.log"

    def write_merged(self, data: bytes) -> None:
        """Append to the stream of all ranks."""
        self.write(MERGED_NAME, data)

    def write(self, name: str, data: bytes) -> None:
        """Append to any file of the attempt."""
        try:
            write_all(self._descriptor(name), data)
        except OSError as error:
            self.lost_bytes += len(data)
            self.problem = self.problem or error

    def _descriptor(self, name: str) -> int:
        descriptor = self._open.pop(name, None)
        if descriptor is None:
            if len(self._open) >= self._max_open:
                os.close(self._open.pop(next(iter(self._open))))
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self.folder / name, flags, 0o644)
        self._open[name] = descriptor
        return descriptor

    def rank_tail(self, rank: int) -> bytes:
        """Return the end of one rank's log."""
        return tail(self.folder / rank_log_name(rank))

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.popitem()[1])


def tail(path: Path, size_bytes: int = 16384) -> bytes:
    """Return the last bytes of a file, starting at a line; empty when there is no such file."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - size_bytes))
            data = file.read(size_bytes)
    except FileNotFoundError:
        return b""
    if length > size_bytes:
        data = data[data.find(b"\n") + 1 :]
    return data
