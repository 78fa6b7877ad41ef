"""Where everything of one run is: the paths under ``<run root>/<name>/<run id>/``."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.names import path_component


def new_run_id(now: float | None = None) -> str:
    """Return an unused id that sorts by time, such as ``20261120-120501-3fa9c1`` (UTC)."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}-{os.urandom(3).hex()}"


@dataclass(frozen=True)
class ElementDir:
    """The part of a run that one supervisor owns: the run itself, or one element of an array."""

    path: Path

    @property
    def ledger_path(self) -> Path:
        """The ledger, see slurmkit.rundir.ledger."""
        return self.path / "ledger.jsonl"

    @property
    def fence_path(self) -> Path:
        """Which incarnation may write the ledger."""
        return self.path / "fence"

    @property
    def logs_dir(self) -> Path:
        """The folder of all logs."""
        return self.path / "logs"

    @property
    def rendezvous_dir(self) -> Path:
        """The folder of published addresses."""
        return self.path / "rendezvous"

    @property
    def ended_path(self) -> Path:
        """There once the element has ended for good; how an array knows its last element."""
        return self.path / "ended"

    def attempt_dir(self, attempt: int) -> Path:
        """The logs of one attempt, counted from 1."""
        return self.logs_dir / f"attempt-{attempt}"

    def rank_log_path(self, attempt: int, rank: int) -> Path:
        """What one rank wrote in one attempt."""
        return self.attempt_dir(attempt) / rank_log_name(rank)

    def attempts(self) -> list[int]:
        """Return the attempts that have a log folder, in order."""
        names = _names(self.logs_dir)
        return _numbers(name[8:] for name in names if name.startswith("attempt-"))

    def new_attempt(self) -> int:
        """Make the folder of the next attempt and what it needs besides; return its number."""
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        self.rendezvous_dir.mkdir(exist_ok=True)
        attempt = max(self.attempts(), default=0) + 1
        while True:
            try:
                self.attempt_dir(attempt).mkdir()
            except FileExistsError:  # another incarnation was quicker
                attempt += 1
            else:
                return attempt


def rank_log_name(rank: int) -> str:
    """Return the file name of a rank's log, such as ``rank-00003.log``."""
    return f"rank-{rank:05d}.log"


@dataclass(frozen=True)
class RunDir:
    """One run's folder."""

    path: Path

    @classmethod
    def create(cls, run_root: Path, name: str, run_id: str | None = None) -> "RunDir":
        """Make the folder of a new run, for its owner alone.

        Args:
            run_root: the folder of all runs; made when it is missing.
            name: the run's name, any text.
            run_id: what ``new_run_id`` gave; None for a fresh one.

        Raises:
            UsageError: the run id names another folder.
            SlurmkitError: the folder cannot be made.
        """
        run_id = new_run_id() if run_id is None else run_id
        if path_component(run_id) != run_id:
            raise UsageError(f"{run_id!r} is not a run id", hint="leave it out to get a fresh one")
        run = cls(run_root.absolute() / path_component(name) / run_id)
        try:
            run.path.parent.mkdir(parents=True, exist_ok=True)
            run.path.mkdir(mode=0o700)
            run.element().logs_dir.mkdir()
            run.element().rendezvous_dir.mkdir()
        except OSError as error:
            raise SlurmkitError(
                f"cannot make the run directory {run.path}: {error.strerror}",
                hint="choose a run root on a shared file system that you can write to",
            ) from error
        return run

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def name(self) -> str:
        """The run's name as the folder has it."""
        return self.path.parent.name

    @property
    def run_root(self) -> Path:
        """The folder of all runs."""
        return self.path.parent.parent

    @property
    def spec_path(self) -> Path:
        """The job's YAML as given, byte for byte."""
        return self.path / "spec.yaml"

    @property
    def resolved_path(self) -> Path:
        """The job after extends, --set and defaults."""
        return self.path / "resolved.yaml"

    @property
    def plan_path(self) -> Path:
        """The plan."""
        return self.path / "plan.json"

    @property
    def script_path(self) -> Path:
        """The batch script."""
        return self.path / "job.sbatch"

    @property
    def code_path(self) -> Path:
        """Which code ran."""
        return self.path / "code.json"

    @property
    def diff_path(self) -> Path:
        """Uncommitted changes of that code."""
        return self.path / "code.diff"

    @property
    def submission_path(self) -> Path:
        """What Slurm called the job."""
        return self.path / "submission.json"

    def element(self, task: int | None = None) -> ElementDir:
        """The part that one supervisor owns: one element of the array, or (None) the run."""
        return ElementDir(self.path if task is None else self.path / "array" / str(task))

    def elements(self) -> dict[int | None, ElementDir]:
        """Return what has started so far by array task; without an array the one key is None."""
        tasks = _numbers(_names(self.path / "array"))
        return {task: self.element(task) for task in tasks} or {None: self.element()}


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _numbers(names: Iterable[str]) -> list[int]:
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())
