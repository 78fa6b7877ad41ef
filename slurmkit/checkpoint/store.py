"""A checkpoint folder as a program sees it: begin a step, find the newest that verifies, prune."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from slurmkit.checkpoint import fence
from slurmkit.checkpoint.assembly import Identity
from slurmkit.checkpoint.errors import CorruptCheckpointError, NoSpaceError, save_error
from slurmkit.checkpoint.layout import (
    CheckpointDir,
    discard,
    step_name,
    temporary_name,
)
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.retention import removable
from slurmkit.checkpoint.verify import verify_presence, verify_step
from slurmkit.checkpoint.writer import StepWriter
from slurmkit.rundir.atomic import atomic_write, sync_folder

_log = logging.getLogger(__name__)


class CheckpointStore:
    """A checkpoint folder, for one process of one attempt.

    Args:
        folder: the checkpoint folder; made when it is not there.
        token: the fence token of this attempt; None when nobody writes fences (a program alone),
            then `newest` sweeps what a killed program left.
        keep: how many of the newest committed steps `prune` leaves.
        run: which run, for the manifest.

    Raises:
        NoSpaceError, SaveFailedError: the folder cannot be made.
    """

    def __init__(
        self, folder: Path, *, token: str | None = None, keep: int = 3, run: str = ""
    ) -> None:
        self.dir = CheckpointDir(folder.absolute())
        self.keep = keep
        self.token = token
        self.run = run
        self._identity = Identity(token, run)
        self._verified: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise save_error(f"the checkpoint folder {folder} cannot be made", error) from error

    def begin(self, step: int, *, size_bytes: int | None = None) -> StepWriter:
        """Start to write a step; every rank calls this with the same step.

        Args:
            step: the optimizer step.
            size_bytes: what is about to be written, as far as the caller knows; None: no check.

        Raises:
            NoSpaceError: there is not that much room.
            StaleTokenError: another attempt has taken over.
            SaveFailedError: the folder cannot be made.
        """
        if size_bytes is not None:
            self._check_space(step, size_bytes)
        return StepWriter(self.dir, step, self._identity)

    def verify(self, step: int) -> Manifest:
        """Read all of a step and return its manifest.

        Raises:
            CorruptCheckpointError: says which file is wrong, and what is wrong with it.
        """
        manifest = verify_step(self.dir.step_path(step), step)
        self._verified = max(step, self._verified if self._verified is not None else step)
        return manifest

    def newest(self, *, before: int | None = None) -> Manifest | None:
        """Return the newest step that verifies; what does not verify is put into quarantine.

        One process calls this, before anybody writes.

        Args:
            before: only steps lower than this.

        Raises:
            UnknownFormatError: a newer release wrote the newest step.
            CheckpointError: something cannot be read right now, which is no damage.
        """
        return self._newest(self.verify, before)

    def newest_metadata(self, *, before: int | None = None) -> Manifest | None:
        """Return the newest step whose manifest is whole and whose files have the right lengths.

        For when each rank then verifies the files it reads, with `reading`.
        """
        return self._newest(lambda step: verify_presence(self.dir.step_path(step), step), before)

    def nearer(self, manifest: Manifest) -> Manifest:
        """Return the same step with what can be read from nearer; here there is nothing nearer."""
        return manifest

    def leave_node(self) -> None:
        """Remove what was kept on this node; here nothing was."""

    def quarantine(self, step: int, why: str) -> None:
        """Take a step out of the way and keep it, with the reason in why.json beside its files.

        Raises:
            StaleTokenError: another attempt has taken over.
            OSError: the file system refuses.
        """
        self._check_fence()
        folder = self.dir.quarantine_path
        folder.mkdir(exist_ok=True)
        number = 1
        while (target := folder / f"{step_name(step)}-{number}").exists():
            number += 1
        try:
            self.dir.step_path(step).rename(target)
        except FileNotFoundError:
            return  # somebody else did it
        if self._verified == step:
            self._verified = None
        fields = {"step": step, "why": why, "time": time.time(), "found_by": self.token or ""}
        with contextlib.suppress(OSError):  # on a full disk the reason is only in the log
            atomic_write(target / "why.json", json.dumps(fields, indent=1) + "\n")
        sync_folder(folder)
        sync_folder(self.dir.path)

    def prune(self) -> list[int]:
        """Remove the committed steps that retention lets go, and return them; after a commit.

        Also removes what failed saves of this attempt left behind.

        Raises:
            StaleTokenError: another attempt has taken over.
        """
        steps = self.dir.steps()
        removed = []
        for step in removable(steps, self.keep, verified=self._verified):
            self._check_fence()  # before each: a new attempt may be reading them
            if discard(self.dir.step_path(step)):
                removed.append(step)
        if steps:
            self._remove_leftovers(steps[-1])
        return removed

    def _remove_leftovers(self, newest: int) -> None:
        for name in self.dir.temporaries():
            step = int(name[len("step-") : name.index(".")])
            own = temporary_name(step, self.token)
            if step < newest and (name == own or name.startswith(f"{own}.gone-")):
                discard(self.dir.path / name)

    def _newest(self, examine: Callable[[int], Manifest], before: int | None) -> Manifest | None:
        if self.token is None:
            self.dir.sweep()
        for step in reversed(self.dir.folders()):
            if before is not None and step >= before:
                continue
            try:
                return examine(step)
            except CorruptCheckpointError as error:
                _log.warning("step %d goes to quarantine: %s", step, error.message)
                self._try_quarantine(step, error.message)
        return None

    def _try_quarantine(self, step: int, why: str) -> None:
        try:
            self.quarantine(step, why)
        except OSError as error:
            _log.warning("step %d stays where it is, and is passed over: %s", step, error)

    def _check_space(self, step: int, size_bytes: int) -> None:
        try:
            status = os.statvfs(self.dir.path)
        except OSError as error:
            raise save_error(f"{self.dir.path} cannot be looked at", error) from error
        free_bytes = status.f_bavail * status.f_frsize
        if free_bytes < size_bytes:
            raise NoSpaceError(
                f"step {step} needs {size_bytes} bytes, and {self.dir.path} on"
                f" {os.uname().nodename} has {free_bytes} left",
                hint="free space, or keep fewer steps; the last committed step is untouched",
            )

    def _check_fence(self) -> None:
        if self.token is not None:
            fence.check(self.dir.path, self.token)
