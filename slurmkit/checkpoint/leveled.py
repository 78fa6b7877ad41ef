"""A checkpoint store that writes to the node first; `levels` says how levels work together."""

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slurmkit.checkpoint.digest import DigestingFile, FileEntry
from slurmkit.checkpoint.errors import (
    CheckpointError,
    CorruptCheckpointError,
    SaveFailedError,
)
from slurmkit.checkpoint.layout import CheckpointDir, safe_token, step_name
from slurmkit.checkpoint.levels import NODE, Offer, Salvage, choose_salvage, evictable
from slurmkit.checkpoint.local import LevelUnavailableError, LocalLevel, Part, PartWriter
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.partners import Partners
from slurmkit.checkpoint.reading import verify_file
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.writer import Identity, StepWriter

_log = logging.getLogger(__name__)
_COPY_BYTES = 4 << 20
Send = Callable[[Part], None]


class LeveledStore(CheckpointStore):
    """A checkpoint folder with a fast level on this node in front of it.

    Where the node cannot take a save, because it is full or its folder is not ours, the save goes
    straight to the shared folder; a warning is logged.

    Args:
        folder: the shared checkpoint folder.
        local_dir: a folder of the node, such as its NVMe disk.
        rank: this rank.
        world_size: how many ranks there are.
        token, keep, run: as for `CheckpointStore`.
        partner: whether a process on another node keeps a copy of each part.
    """

    def __init__(  # noqa: PLR0913 (keyword-only, most of them are those of CheckpointStore)
        self,
        folder: Path,
        *,
        local_dir: Path,
        rank: int,
        world_size: int,
        token: str | None = None,
        keep: int = 3,
        run: str = "",
        partner: bool = False,
    ) -> None:
        super().__init__(folder, token=token, keep=keep, run=run)
        self.local_dir = local_dir
        self._rank = rank
        self._world_size = world_size
        self.partner = partner
        self._partners: Partners | None = None
        self.level: LocalLevel | None = None
        try:
            self.level = LocalLevel.at(local_dir, self.dir.path)
        except LevelUnavailableError as error:
            _log.warning("%s; saves go to the shared folder alone", error.message)

    @classmethod
    def before(
        cls,
        store: CheckpointStore,
        local_dir: Path,
        *,
        rank: int,
        world_size: int,
        partner: bool = False,
    ) -> "LeveledStore":
        """Return a store with the settings of another one and a node's folder in front of it."""
        return cls(
            store.dir.path,
            local_dir=local_dir,
            rank=rank,
            world_size=world_size,
            token=store.token,
            keep=store.keep,
            run=store.run,
            partner=partner,
        )

    def begin(self, step: int, *, size_bytes: int | None = None) -> StepWriter:
        """Start to write a step, as `CheckpointStore.begin` does; on the node where it has room."""
        level = self.level
        if level is None:
            return super().begin(step, size_bytes=size_bytes)
        committed = self.dir.steps()
        level.mark_committed(committed)
        num_copies = 2 if self.partner else 1  # this node keeps as much for others
        if not level.room_for(num_copies * (size_bytes or 0), committed):
            _log.warning("step %d does not fit into %s: it goes to shared", step, level.root)
            return super().begin(step, size_bytes=size_bytes)
        if size_bytes is not None:
            self._check_space(step, size_bytes)
        try:
            part = level.begin(step, self.token or "alone", self._rank, self._world_size)
        except SaveFailedError as error:
            _log.warning("%s; step %d goes to the shared folder", error.message, step)
            return super().begin(step)
        send = self._send_to_partner if self.partner else None
        return LeveledStepWriter(self.dir, step, self._identity, part, send)

    def _send_to_partner(self, part: Part) -> None:
        assert self.level is not None
        if self._partners is None:  # at the first save: in the process that saves, and only there
            folder = self.dir.path / f"partners-{safe_token(self.token)}"
            self._partners = Partners(folder, self.level, self._rank, self._world_size)
        self._partners.send(part)

    def prune(self) -> list[int]:
        """Apply retention to the shared folder and to this node."""
        removed = super().prune()
        self.tidy()
        return removed

    def tidy(self) -> None:
        """Evict what this node need not hold any longer; any process may, at any time."""
        if self.level is not None:
            committed = self.dir.steps()
            self.level.mark_committed(committed)
            self.level.evict(evictable(self.level.held(), committed))

    def leave_node(self) -> None:
        """Remove what this node holds, at the end of a run that is through."""
        if self.level is not None:
            self.level.clear()

    def nearer(self, manifest: Manifest) -> Manifest:
        """Return the same step, read from this node as far as it has sound copies.

        Each copy is read once and compared with the digest of the manifest; what is wrong or not
        there is read from the shared folder.
        """
        near: dict[str, Path] = {}
        for part in self.level.parts() if self.level else ():
            if part.step != manifest.step:
                continue
            there = dataclasses.replace(manifest, folder=part.folder)
            for entry in part.entries:
                with contextlib.suppress(CheckpointError, KeyError):
                    verify_file(there, manifest.entry(entry.name))
                    near[entry.name] = part.folder / entry.name
        return dataclasses.replace(manifest, near=near)

    def salvage(self, gather: Callable[[Any], list[Any]]) -> Manifest | None:
        """Commit the newest save that the nodes have and the shared folder has not; collective.

        Args:
            gather: gives all ranks the values of all, in order of rank, such as ``comm.allgather``
                of MPI; every rank has to call `salvage`.

        Returns:
            the manifest on rank 0, and None elsewhere or when there was nothing to salvage.

        Raises:
            CheckpointError: on rank 0: copying failed; the store is as it was.
        """
        parts = self.level.parts() if self.level else []
        offers = [
            Offer(part.step, part.token, part.rank, part.world_size, part.time, self._rank)
            for part in parts
            if not part.committed or self._was_put_aside_once(part.step)
        ]
        # A client of NFS may see an old folder, so what is committed is agreed upon, too
        said: list[tuple[int, list[Offer]]] = gather((max(self.dir.steps(), default=-1), offers))
        newest = max(step for step, _ in said)
        choice = choose_salvage([offer for _, of_rank in said for offer in of_rank], newest)
        if choice is None:
            return None
        mine = [part for part in parts if _is_mine(part, choice, self._rank)]
        return self._copy_and_commit(choice, mine)

    def _copy_and_commit(self, choice: Salvage, parts: Sequence[Part]) -> Manifest | None:
        writer = CheckpointStore.begin(self, choice.step)
        for part in parts:
            try:
                copies = copy_part(part, writer)
                writer.report(part.rank, copies, part.meta)
            except CheckpointError as error:
                writer.fail(part.rank, error)
                if self._rank != 0:
                    return None  # rank 0 learns it
                writer.abort()
                raise
        if self._rank != 0:
            return None
        reports = writer.await_reports(choice.world_size, _salvage_timeout_s(parts))
        extra = reports[0].meta.get("extra", {})
        manifest = writer.commit(reports, extra=extra)
        _log.warning("step %d was salvaged from the nodes", choice.step)
        return manifest

    def _was_put_aside_once(self, step: int) -> bool:
        # Not twice: a shared folder that damages what it is given would be fed for ever
        return len(list(self.dir.quarantine_path.glob(f"{step_name(step)}-*"))) == 1


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


def _is_mine(part: Part, choice: Salvage, rank: int) -> bool:
    return (part.step, part.token, part.world_size) == (
        choice.step,
        choice.token,
        choice.world_size,
    ) and choice.holders[part.rank] == rank


def _salvage_timeout_s(parts: Sequence[Part]) -> float:
    """The others copy about as much as this rank; 20 MB/s is slow for any shared folder."""
    return 120.0 + sum(part.size_bytes for part in parts) / 20e6
