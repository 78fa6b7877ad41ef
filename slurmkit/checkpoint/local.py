"""The folder of a node: parts of saves that are to reach the shared folder, or have reached it."""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.checkpoint.layout import discard, temporary_name
from slurmkit.checkpoint.levels import Held, make_room
from slurmkit.checkpoint.local_part import COMMITTED_NAME, Part, PartWriter, read_index

_NAME = "levels"
_UNUSED_S = 14 * 86400.0


class LevelUnavailableError(CheckpointError):
    """The node-local folder cannot be used; saves go to the shared folder alone."""


class LocalLevel:
    """The parts of one checkpoint folder on this node; several processes use it.

    Args:
        root: a folder that is ours alone, see `at`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def at(cls, local_dir: Path, checkpoint_dir: Path) -> "LocalLevel":
        """Return the level for a checkpoint folder, below a node-local folder that others share.

        Folders that no run has used for two weeks are removed. The checkpoint folder gets a name
        of its own, in its file ``levels``: who removes the folder to begin anew does not get old
        parts back from nodes.

        Raises:
            LevelUnavailableError: the folder cannot be made, or somebody else made it: local
                folders such as /tmp are writable for all.
        """
        mine = local_dir / f"slurmkit-{os.geteuid()}"
        try:
            mine.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = mine.lstat()
            if (
                not stat.S_ISDIR(status.st_mode)
                or status.st_uid != os.geteuid()
                or status.st_mode & 0o077
            ):
                raise LevelUnavailableError(
                    f"{mine} on {os.uname().nodename} is not a folder of ours alone",
                    hint="remove it, or set another SLURMKIT_LOCAL_DIR",
                )
            root = mine / _own_name(checkpoint_dir)
            root.mkdir(exist_ok=True)
            os.utime(root)
        except OSError as error:
            raise LevelUnavailableError(
                f"{mine} on {os.uname().nodename} cannot be used: {error.strerror}"
            ) from error
        _remove_unused(mine)
        return cls(root)

    def begin(self, step: int, token: str, rank: int, world_size: int) -> "PartWriter":
        """Start to write a rank's part; what an earlier try left of it is replaced.

        Raises:
            NoSpaceError, SaveFailedError: the node's file system refuses.
        """
        return PartWriter(self.root / temporary_name(step, token), (step, token, rank, world_size))

    def parts(self) -> list[Part]:
        """Return every finished part, the newest step first; damaged indexes do not count."""
        found = []
        for folder in self._folders():
            for path in sorted(folder.glob("part-*.json")):
                part = read_index(path)
                if part is not None:
                    found.append(part)
        return sorted(found, key=lambda part: (-part.step, part.token, part.rank))

    def held(self) -> list[Held]:
        """Return what this node holds, by save."""
        result = []
        for folder in self._folders():
            parts = [part for part in map(read_index, folder.glob("part-*.json")) if part]
            begun = len(list(folder.glob("part-*.begun")))
            step = _step_of(folder)
            token = parts[0].token if parts else folder.name
            size_bytes = sum(_length(path) for path in folder.rglob("*"))
            result.append(Held(step, token, size_bytes, bool(parts) and not begun))
        return result

    def mark_committed(self, committed: Collection[int]) -> None:
        """Note which saves are in the shared folder: from now on they are copies."""
        for folder in self._folders():
            if _step_of(folder) in committed and any(folder.glob("part-*.json")):
                with contextlib.suppress(OSError):
                    (folder / COMMITTED_NAME).touch()

    def room_for(self, size_bytes: int, committed: Collection[int]) -> bool:
        """Evict what is not needed; False when a save of this size does not fit here."""
        try:
            status = os.statvfs(self.root)
            free_bytes = status.f_bavail * status.f_frsize
            going = make_room(self.held(), committed, free_bytes, size_bytes)
        except OSError:
            return False
        self.evict(going or [])
        return going is not None

    def evict(self, going: Sequence[Held]) -> None:
        """Remove saves from this node."""
        for entry in going:
            name = entry.token if entry.token.startswith("step-") else ""
            with contextlib.suppress(OSError):  # another process of this node was quicker
                discard(self.root / (name or temporary_name(entry.step, entry.token)))

    def clear(self) -> None:
        """Remove everything that this node holds, such as when the program is through."""
        for folder in self._folders():
            with contextlib.suppress(OSError):
                discard(folder)

    def _folders(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            for path in self.root.iterdir():
                if path.name.startswith("step-") and ".gone-" not in path.name:
                    yield path


def _own_name(checkpoint_dir: Path) -> str:
    """Return the name that a checkpoint folder has on nodes; the first who asks gives it."""
    path = checkpoint_dir / _NAME
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError):
            name = path.read_text(encoding="ascii").strip()
            if name.isalnum():
                return name
        draft = checkpoint_dir / f".{_NAME}.{os.urandom(8).hex()}"
        draft.write_text(os.urandom(8).hex() + "\n", encoding="ascii")
        try:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)  # whole, and only where there is none yet
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()


def _remove_unused(mine: Path) -> None:
    """Remove what runs left on this node that did not come back to it."""
    oldest = time.time() - _UNUSED_S
    for other in mine.iterdir():
        with contextlib.suppress(OSError):
            if other.stat().st_mtime < oldest:
                shutil.rmtree(other, ignore_errors=True)


def _step_of(folder: Path) -> int:
    return int(folder.name[len("step-") : folder.name.index(".")])


def _length(path: Path) -> int:
    with contextlib.suppress(OSError):
        status = path.lstat()
        return status.st_size if stat.S_ISREG(status.st_mode) else 0
    return 0
