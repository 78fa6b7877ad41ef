"""One step that goes to the node first, then to a partner, then to the shared folder."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from slurmkit.checkpoint.assembly import Identity
from slurmkit.checkpoint.digest import DigestingFile, FileEntry
from slurmkit.checkpoint.errors import CheckpointError, CorruptCheckpointError
from slurmkit.checkpoint.layout import CheckpointDir
from slurmkit.checkpoint.levels import NODE
from slurmkit.checkpoint.local_part import Part, PartWriter
from slurmkit.checkpoint.writer import StepWriter

_log = logging.getLogger(__name__)
_COPY_BYTES = 4 << 20
Send = Callable[[Part], None]


class LeveledStepWriter(StepWriter):
    """A step that is written to this node first, and copied to the shared folder by `report`."""

    def __init__(
        self,
        root: CheckpointDir,
        step: int,
        identity: Identity,
        part: PartWriter,
        partner: Send | None = None,
    ) -> None:
        super().__init__(root, step, identity)
        self._part: PartWriter | None = part
        self._partner = partner
        self._local_names: list[str] = []
        self.local_s: float | None = None

    def open(self, name: str) -> DigestingFile:
        """Create a file of this step on this node; once it was reported, in the shared folder."""
        if self._part is None:
            return super().open(name)
        self._local_names.append(name)
        return self._part.open(name)

    def create(self, name: str) -> int:
        """Create a file on this node and return its descriptor; after the report, in shared."""
        if self._part is None:
            return super().create(name)
        self._local_names.append(name)
        return self._part.create(name, os.O_RDWR)

    def adopt(self, name: str) -> FileEntry:
        """Digest and sync a file that was made by `create`."""
        if self._part is None:
            return super().adopt(name)
        return self._part.adopt(name)

    def report(
        self, rank: int, entries: Sequence[FileEntry], meta: dict[str, Any] | None = None
    ) -> None:
        """Make the part count on this node, copy it to the partner and to the shared folder.

        When this returns, the part is durable on all levels. An error of the partner is logged
        only; the attribute `local_s` says after how long the node had it.
        """
        if self._part is not None:
            part = self._part.finish(entries, meta or {})
            self._part = None
            self.local_s = time.monotonic() - self._start
            if self._partner is not None:
                try:
                    self._partner(part)
                except (CheckpointError, OSError) as error:
                    _log.warning("step %d has no copy at the partner: %s", self.step, error)
            copy_part(part, self)
        super().report(rank, entries, meta)

    def fail(self, rank: int, error: BaseException) -> None:
        """Say that this rank's part failed, and remove it from the node."""
        if self._part is not None:
            self._part.give_up(self._local_names)
            self._part = None
        super().fail(rank, error)


def copy_part(part: Part, writer: StepWriter) -> list[FileEntry]:
    """Copy the files of a part from this node to the shared folder and compare their digests.

    Raises:
        CorruptCheckpointError: a file on the node is not what was written.
        NoSpaceError, SaveFailedError, StaleTokenError: the shared folder refuses.
    """
    return [_copy_file(part, entry, writer) for entry in part.entries]


def _copy_file(part: Part, entry: FileEntry, writer: StepWriter) -> FileEntry:
    path = part.folder / entry.name
    buffer = memoryview(bytearray(min(_COPY_BYTES, max(1, entry.size_bytes))))
    with StepWriter.open(writer, entry.name) as copy:
        try:
            with path.open("rb", buffering=0) as original:
                while length := original.readinto(buffer):
                    copy.write(buffer[:length])
        except OSError as error:
            raise CorruptCheckpointError(
                f"{path} cannot be read: {error.strerror}", step=part.step, file=entry.name
            ) from error
        copied = copy.close()
    if copied != entry:
        raise CorruptCheckpointError(
            f"{path} on {NODE} has other bytes than were written", step=part.step, file=entry.name
        )
    return copied
