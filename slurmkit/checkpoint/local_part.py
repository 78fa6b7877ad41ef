"""One rank's part of a save on its node: it counts when its index is there, written last."""

import contextlib
import json
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slurmkit.checkpoint.digest import DigestingFile, FileEntry, digest_of
from slurmkit.checkpoint.errors import save_error
from slurmkit.checkpoint.manifest import is_safe_name
from slurmkit.checkpoint.reading import sync_and_digest
from slurmkit.rundir.atomic import atomic_write

COMMITTED_NAME = "committed"
_INDEX = "part-{rank:05d}.json"
_BEGUN = "part-{rank:05d}.begun"


@dataclass(frozen=True)
class Part:
    """What one rank finished of a save, on this node.

    Attributes:
        step: which step.
        token: of the attempt that saved it.
        rank: whose part.
        world_size: how many parts the save has.
        entries: its files.
        meta: what the rank reports with it.
        time: when it was finished, Unix seconds.
        folder: where its files are.
        committed: whether the step was seen in the shared folder since.
    """

    step: int
    token: str
    rank: int
    world_size: int
    entries: tuple[FileEntry, ...]
    meta: dict[str, Any]
    time: float
    folder: Path = Path()
    committed: bool = False

    @property
    def size_bytes(self) -> int:
        """The size of its files."""
        return sum(entry.size_bytes for entry in self.entries)


class PartWriter:
    """A rank's part while it is written; made by `LocalLevel.begin`."""

    def __init__(self, folder: Path, key: tuple[int, str, int, int]) -> None:
        self.folder = folder
        self.step, self.token, self.rank, self.world_size = key
        self._begun = folder / _BEGUN.format(rank=self.rank)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._index.unlink(missing_ok=True)
            self._begun.touch()
        except OSError as error:
            raise save_error(f"{folder} cannot be used", error) from error

    @property
    def _index(self) -> Path:
        return self.folder / _INDEX.format(rank=self.rank)

    def open(self, name: str) -> DigestingFile:
        """Create a file of the part.

        Raises:
            ValueError: the name leads out of the folder.
            NoSpaceError, SaveFailedError: it cannot be made.
        """
        return DigestingFile(name, self.create(name, os.O_WRONLY), self.folder / "files" / name)

    def create(self, name: str, mode: int) -> int:
        """Create a file, or empty that of an earlier try, and return its descriptor.

        Raises:
            ValueError, NoSpaceError, SaveFailedError: as `open`.
        """
        if not is_safe_name(name):
            raise ValueError(f"{name!r} cannot be the name of a file in a checkpoint")
        path = self.folder / "files" / name
        flags = mode | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, flags, 0o600)
        except OSError as error:
            raise save_error(f"{path} cannot be made", error) from error

    def adopt(self, name: str) -> FileEntry:
        """Digest and sync a file that was made by `create`.

        Raises:
            NoSpaceError, SaveFailedError: it cannot be read or synced.
        """
        path = self.folder / "files" / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return FileEntry(name, *sync_and_digest(descriptor))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise save_error(f"{path} cannot be taken over", error) from error

    def finish(self, entries: Sequence[FileEntry], meta: dict[str, Any]) -> Part:
        """Make the part count, durably.

        Raises:
            NoSpaceError, SaveFailedError: the index cannot be written.
        """
        key = (self.step, self.token, self.rank, self.world_size)
        part = Part(*key, tuple(entries), meta, time.time(), self.folder / "files")
        fields = {k: v for k, v in asdict(part).items() if k not in ("folder", "committed")}
        text = json.dumps(fields, sort_keys=True)
        try:
            atomic_write(self._index, f"{text}\n{digest_of(text.encode())}\n", 0o600)
            self._begun.unlink(missing_ok=True)
        except OSError as error:
            raise save_error(f"{self._index} cannot be written", error) from error
        return part

    def give_up(self, names: Collection[str]) -> None:
        """Remove what was written of the part; other ranks of the node go on."""
        for name in names:
            with contextlib.suppress(OSError):
                (self.folder / "files" / name).unlink()
        with contextlib.suppress(OSError):
            self._begun.unlink()
        for folder in (self.folder / "files", self.folder):
            with contextlib.suppress(OSError):  # the last one goes last
                folder.rmdir()


def read_index(path: Path) -> Part | None:
    """Return the part that an index is of; None when it is damaged or gone."""
    try:
        text, _, digest = path.read_text(encoding="utf-8").rstrip("\n").rpartition("\n")
        if digest_of(text.encode()) != digest:
            return None
        fields = json.loads(text)
        entries = tuple(FileEntry(**entry) for entry in fields.pop("entries"))
        committed = (path.parent / COMMITTED_NAME).exists()
        return Part(entries=entries, folder=path.parent / "files", committed=committed, **fields)
    except (OSError, ValueError, TypeError, KeyError):
        return None
