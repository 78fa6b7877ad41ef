"""The same boundaries for frameworks that write their checkpoints themselves.

A framework's loop calls `Watch.boundary` after each step and is told to go on, to save or to save
and stop. What it wrote is then committed: digested, synced and renamed, so that a resume finds the
newest checkpoint that is whole and as it was written.
"""

import logging
import time
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import torch.distributed as dist

from slurmkit.checkpoint.commands import commit_folder
from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.checkpoint.interval import Every, Schedule
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.errors import SlurmkitError
from slurmkit.train.agreement import Agreement, Wishes, side_group
from slurmkit.train.notices import show_notices
from slurmkit.train.progress import Progress
from slurmkit.train.saver import Stopped
from slurmkit.train.settings import Settings
from slurmkit.train.signals import SignalFlags
from slurmkit.train.stacks import Stacks

_log = logging.getLogger("slurmkit.train")
_TIMEOUT = timedelta(minutes=30)  # others wait while rank 0 reads a checkpoint to verify it


class Verdict(Enum):
    """What to do at a boundary."""

    GO_ON = "go on"
    SAVE = "save"
    STOP = "save and stop"


class Watch:
    """Agrees with all ranks on saves and stops, and commits what a framework wrote.

    Made after the process group, on all ranks.

    Args:
        settings: what the job says.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        distributed = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if distributed else 0
        if self.rank == 0:
            show_notices()
        self._agreement = Agreement(side_group(_TIMEOUT) if distributed else None)
        self._flags = SignalFlags(settings.warning_signal, settings.grace_s)
        self._progress = Progress(settings.agent_socket, self.rank)
        self._stacks = Stacks(settings, self.rank)
        self._schedule = Schedule(Every.parse(settings.every), mtbf_s=settings.mtbf_s)
        self._hold_until = 0.0
        self._stopping = False

    def newest(self) -> Path | None:
        """Return the folder of the newest committed step that verifies; collective."""
        path: list[str | SlurmkitError | None] = [None]
        if self.rank == 0:
            try:
                manifest = store_of(self.settings).newest()
                path = [str(manifest.folder) if manifest else None]
            except SlurmkitError as error:
                path = [error]
        if dist.is_available() and dist.is_initialized():
            dist.broadcast_object_list(path)
        if isinstance(path[0], SlurmkitError):
            raise path[0]
        return Path(path[0]) if path[0] else None

    def begin(self, step: int) -> None:
        """The loop begins, after this step."""
        self._flags.install()
        self._schedule.begun(step, time.monotonic())
        self._progress.session(**self._stacks.hello, restored=step or None)
        self._progress.tell("phase", phase="run", step=step)

    def boundary(self, step: int, epoch: int = 0, **logged: Any) -> Verdict:
        """Return what all ranks do after this step."""
        now = time.monotonic()
        self._progress.step(step, epoch, logged)
        self._listen()
        agreed = self._agreement.finish(self._wishes(step, now))
        self._agreement.start(self._wishes(step, now))
        if agreed.stop:
            self._stopping = True
            self._progress.tell("phase", phase="stopping", step=step)
            return Verdict.STOP
        by_steps = bool(self._schedule.every.steps) and self._schedule.due(step, now)
        if not agreed.busy and (agreed.save or by_steps):
            self._progress.tell("phase", phase="save", step=step)
            return Verdict.SAVE
        return Verdict.GO_ON

    def commit(self, step: int, source: Path, begun: float) -> None:
        """Commit the files that all ranks have written, then stop if that was the verdict.

        Args:
            step: the step that was saved.
            source: the folder with the files; it is taken over.
            begun: when the framework began to write, by time.monotonic().

        Raises:
            Stopped: a SystemExit with code 75, where the verdict was to stop.
            StaleTokenError: another attempt has taken over.
        """
        self._agreement.finish(Wishes())
        self._agreement.any(False)  # every rank has written its files
        failed = self._agreement.any(self.rank == 0 and not self._committed(step, source, begun))
        if failed:
            self._hold_until = time.monotonic() + 5.0
        self._schedule.begun(step, time.monotonic())
        self._flags.save = False
        if self._stopping:
            self._progress.tell("ending", step=step, why=self._flags.stop or "told")
            self._flags.ignore()
            self.end()
            raise Stopped
        self._progress.tell("phase", phase="run", step=step)

    def finish(self, step: int) -> None:
        """The loop has ended by itself."""
        self._agreement.finish(Wishes())
        self._progress.tell("ending", step=step, why="finished")
        self.end()

    def end(self) -> None:
        """Give the signals back and hang up."""
        self._flags.remove()
        self._progress.close()
        self._stacks.close()

    def _committed(self, step: int, source: Path, begun: float) -> bool:
        settings = self.settings
        try:
            manifest = commit_folder(
                settings.folder, step, source=source, token=settings.fence, keep=settings.keep
            )
        except CheckpointError as error:
            self._progress.tell("save_failed", step=step, error=error.message)
            _log.warning("step %d is not saved, training goes on: %s", step, error)
            return False
        save_s = time.monotonic() - begun
        self._schedule.finished(save_s, save_s)
        sizes = {"size_bytes": manifest.size_bytes, "save_s": round(save_s, 4)}
        self._progress.tell("committed", step=step, stall_s=round(save_s, 4), **sizes)
        _log.info("saved step %d, %d bytes", step, manifest.size_bytes)
        return True

    def _wishes(self, step: int, now: float) -> Wishes:
        timed = not self._schedule.every.steps and self.rank == 0
        return Wishes(
            stop=bool(self._flags.stop),
            save=self._flags.save or (timed and self._schedule.due(step, now)),
            busy=now < self._hold_until,
            deadline=self._flags.deadline,
        )

    def _listen(self) -> None:
        for message in self._progress.asked():
            if message.get("type") == "stop":
                deadline = float(message.get("deadline") or "inf")
                self._flags.ask_to_stop(str(message.get("why") or "warning"), deadline)
            elif message.get("type") == "save":
                self._flags.save = True


def store_of(settings: Settings) -> CheckpointStore:
    """Return the checkpoint folder that the job and the program have chosen."""
    return CheckpointStore(settings.folder, token=settings.fence, keep=settings.keep)


class LateWatch:
    """A watch that is made when it is first needed: after the framework's process group.

    Args:
        folder: where checkpoints are; None as the job says.
        every: how often to save; None as the job says.
    """

    def __init__(self, folder: str | Path | None, every: str | int | None) -> None:
        self._settings = Settings.from_environment().overridden(folder=folder, every=every)
        self._watch: Watch | None = None

    def __call__(self) -> Watch:
        """Return the watch."""
        if self._watch is None:
            self._watch = Watch(self._settings)
        return self._watch

    def newest_alone(self) -> Path | None:
        """Return the folder of the newest step that verifies, before there is a process group.

        Nobody writes before all ranks have met, so all of them find the same.
        """
        manifest = store_of(self._settings).newest()
        return manifest.folder if manifest else None
