"""Reports: small files in a temporary folder by which ranks say that their part is complete.

They make collectives needless: whoever commits polls the folder. A report is renamed into place,
so it is whole or absent. It need not survive a crash of the machine, as the folder does not count
before it is committed.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slurmkit.checkpoint.digest import FileEntry
from slurmkit.checkpoint.errors import NO_SPACE, NoSpaceError, SaveFailedError
from slurmkit.rundir.atomic import write_all

_REPORT = re.compile(r"rank-(\d+)\.(done|failed)\.json", re.ASCII)
_FIRST_POLL_S = 0.001
_LAST_POLL_S = 0.1


@dataclass(frozen=True)
class RankReport:
    """What one rank has written.

    Attributes:
        rank: which.
        entries: its files, all of them durable.
        meta: what its writer wants the committing process to know; JSON.
        host: where it ran.
    """

    rank: int
    entries: tuple[FileEntry, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    host: str = ""


def is_report(name: str) -> bool:
    """Return whether a file in a temporary folder is a report, or one being written."""
    return bool(_REPORT.fullmatch(name)) or name.startswith(".rank-")


def write_done(folder_fd: int, report: RankReport) -> None:
    """Leave a rank's report in the folder that is open as `folder_fd`.

    Raises:
        OSError: the folder is full, or gone.
    """
    _place(folder_fd, f"rank-{report.rank:05d}.done.json", asdict(report))


def write_failed(folder_fd: int, rank: int, error: BaseException) -> None:
    """Say that a rank's part failed, so that nobody waits for it.

    On a full disk the reason may be lost: an empty file says that it failed.

    Raises:
        OSError: not even an empty file can be made, or the folder is gone.
    """
    name = f"rank-{rank:05d}.failed.json"
    cause = error if isinstance(error, OSError) else error.__cause__
    fields = {
        "rank": rank,
        "host": os.uname().nodename,
        "error": type(error).__name__,
        "message": getattr(error, "message", "") or str(error),
        "no_space": isinstance(error, NoSpaceError)
        or (isinstance(cause, OSError) and cause.errno in NO_SPACE),
    }
    try:
        _place(folder_fd, name, fields)
    except OSError as refused:
        if refused.errno not in NO_SPACE:
            raise
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=folder_fd))


def _place(folder_fd: int, name: str, fields: dict[str, Any]) -> None:
    temporary = f".{name}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=folder_fd)
    try:
        try:
            write_all(descriptor, json.dumps(fields).encode())
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder_fd)
        raise


@dataclass
class Waiting:
    """What a committing process has heard so far.

    Attributes:
        folder: the temporary folder.
        world_size: how many ranks have to report.
    """

    folder: Path
    world_size: int
    reports: dict[int, RankReport] = field(default_factory=dict)

    def look(self) -> bool:
        """Read what is new; True when every rank has reported.

        Raises:
            NoSpaceError, SaveFailedError: a rank says that its part failed.
            FileNotFoundError: the folder is gone.
        """
        # By path, not by descriptor: opening a folder makes NFS ask the server what is in it
        for name in sorted(os.listdir(self.folder)):  # noqa: PTH208
            match = _REPORT.fullmatch(name)
            if match and match[2] == "failed":
                raise _failure(int(match[1]), self.folder / name)
            if match and int(match[1]) not in self.reports:
                self._read(self.folder / name)
        return len(self.reports) >= self.world_size

    def _read(self, path: Path) -> None:
        try:
            fields = json.loads(path.read_bytes())
            entries = tuple(FileEntry(**entry) for entry in fields.pop("entries"))
            report = RankReport(entries=entries, **fields)
        except (ValueError, KeyError, TypeError) as error:
            raise SaveFailedError(f"the report {path} cannot be read: {error!r}") from error
        if not 0 <= report.rank < self.world_size:
            raise SaveFailedError(
                f"{path} is of rank {report.rank}, but there are {self.world_size} ranks"
            )
        self.reports[report.rank] = report

    def missing(self) -> list[int]:
        """Return the ranks that have not reported."""
        return [rank for rank in range(self.world_size) if rank not in self.reports]


def await_all(
    waiting: Waiting, timeout_s: float, still: Callable[[], bool] | None
) -> Sequence[RankReport]:
    """Poll until every rank has reported; reports come sorted by rank.

    Args:
        waiting: where and for how many.
        timeout_s: how long at most, seconds.
        still: asked at every poll; False ends the waiting.

    Raises:
        NoSpaceError, SaveFailedError: a rank failed, or did not report in time.
        FileNotFoundError: the folder is gone.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_POLL_S
    while not waiting.look():
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise SaveFailedError(
                f"{_ranks(waiting.missing())} did not finish writing to {waiting.folder}"
                f" within {timeout_s:g} s"
            )
        if still is not None and not still():
            raise SaveFailedError(
                f"the save was given up while {_ranks(waiting.missing())} had yet to report"
            )
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, _LAST_POLL_S)
    return [waiting.reports[rank] for rank in sorted(waiting.reports)]


def _ranks(ranks: Sequence[int]) -> str:
    named = ", ".join(str(rank) for rank in ranks[:8])
    more = f" and {len(ranks) - 8} more" if len(ranks) > 8 else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {named}{more}"


def _failure(rank: int, path: Path) -> SaveFailedError:
    try:
        fields = json.loads(path.read_bytes())
        what = f"rank {rank} on {fields['host']} failed to save: {fields['message']}"
        kind = NoSpaceError if fields["no_space"] else SaveFailedError
    except (OSError, ValueError, KeyError, TypeError):  # an empty file is what fits on a full disk
        kind = NoSpaceError
        what = f"rank {rank} failed to save, and the disk had no room to say why"
    return kind(what)
