"""A checkpoint store that writes to the node first; `levels` says how levels work together."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slurmkit.checkpoint.errors import (
    CheckpointError,
    SaveFailedError,
)
from slurmkit.checkpoint.layout import safe_token, step_name
from slurmkit.checkpoint.leveled_writer import LeveledStepWriter, copy_part
from slurmkit.checkpoint.levels import Offer, Salvage, choose_salvage, evictable
from slurmkit.checkpoint.local import LevelUnavailableError, LocalLevel
from slurmkit.checkpoint.local_part import Part
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.partners import Partners
from slurmkit.checkpoint.reading import verify_file
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.writer import StepWriter

_log = logging.getLogger(__name__)


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


def _is_mine(part: Part, choice: Salvage, rank: int) -> bool:
    return (part.step, part.token, part.world_size) == (
        choice.step,
        choice.token,
        choice.world_size,
    ) and choice.holders[part.rank] == rank


def _salvage_timeout_s(parts: Sequence[Part]) -> float:
    """The others copy about as much as this rank; 20 MB/s is slow for any shared folder."""
    return 120.0 + sum(part.size_bytes for part in parts) / 20e6
