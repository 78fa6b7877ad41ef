"""The checkpoints of a run, or in any folder: list, verify, prune, and commit from outside."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurmkit.api.preparing import run_root_of
from slurmkit.errors import RunNotFoundError, UsageError
from slurmkit.rundir import lookup
from slurmkit.rundir.layout import ElementDir, RunDir
from slurmkit.site.lookup import find_site

#: Where a program saves that nobody told where to.
DEFAULT_DIR = "checkpoints"


@dataclass(frozen=True)
class CheckpointStep:
    """One committed checkpoint, as its manifest says.

    Attributes:
        time: when it was committed, Unix seconds.
        attempt: which launch wrote it.
        world_size: how many ranks wrote it; 0 when its manifest is damaged.
        save_s: from the begin of the save to the commit.
    """

    step: int
    time: float
    size_bytes: int
    incarnation: str
    attempt: int
    world_size: int
    save_s: float


@dataclass(frozen=True)
class DamagedStep:
    """A checkpoint that was put aside; ``step`` is -1 when the reason is lost."""

    path: str
    step: int
    why: str
    time: float


@dataclass(frozen=True)
class CheckpointList:
    """The checkpoints in one folder; ``task`` is the array index, None for an ordinary run."""

    folder: str
    task: int | None
    steps: list[CheckpointStep] = field(default_factory=list)
    quarantined: list[DamagedStep] = field(default_factory=list)


@dataclass(frozen=True)
class CheckpointVerdict:
    """Whether a checkpoint is whole; ``problem`` names the file and what is wrong with it."""

    folder: str
    task: int | None
    step: int
    ok: bool
    problem: str
    size_bytes: int
    seconds: float


@dataclass(frozen=True)
class PrunedCheckpoints:
    """What was removed from a folder, or would be."""

    folder: str
    task: int | None
    removed: list[int]
    kept: list[int]
    freed_bytes: int


@dataclass(frozen=True)
class CommittedCheckpoint:
    """A checkpoint that was committed from outside of the program."""

    folder: str
    step: int
    size_bytes: int
    num_files: int


def checkpoint_folders(
    where: str, *, task: int | None = None, site: str | None = None
) -> dict[int | None, Path]:
    """Return the folders of a run's checkpoints by array index, or the folder that is named itself.

    Args:
        where: a run, or a folder with checkpoints.
        task: only this element of the array.
        site: site.yaml or its folder; None looks in the usual places.

    Raises:
        RunNotFoundError: it is neither; the hint names runs that are close.
        UsageError: the array has no such element.
    """
    path = Path(where).expanduser()
    if path.is_dir() and not lookup.is_run(path) and ("/" in where or _holds_steps(path)):
        return {None: path.absolute()}
    try:
        run = lookup.find_run(run_root_of(find_site(site)), where)
    except RunNotFoundError:
        if path.is_dir():
            return {None: path.absolute()}
        raise
    plan = _plan(run)
    folders = {number: _folder(plan, element, number) for number, element in run.elements().items()}
    if task is None:
        return folders
    if task not in folders:
        raise UsageError(f"{run.name}/{run.run_id} has no element {task}")
    return {task: folders[task]}


def _holds_steps(path: Path) -> bool:
    return next(path.glob("step-*"), None) is not None


def _plan(run: RunDir) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads(run.plan_path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}  # a rendered script that was given to plain sbatch writes no plan
    return plan


def _folder(plan: dict[str, Any], element: ElementDir, task: int | None) -> Path:
    words = (plan.get("checkpoints") or {}).get("dir") or [DEFAULT_DIR]
    values = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}
    text = "".join(
        word if isinstance(word, str) else values.get(word["variable"], "") for word in words
    )
    return element.path / text  # an absolute one stays what it is


def list_checkpoints(
    where: str, *, task: int | None = None, site: str | None = None
) -> list[CheckpointList]:
    """Return the checkpoints of a run, or of a folder, without reading their data.

    Arguments and errors are those of ``checkpoint_folders``.
    """
    from slurmkit.checkpoint import commands  # noqa: PLC0415 - needs digests; reports do not

    found = []
    for number, folder in checkpoint_folders(where, task=task, site=site).items():
        if not folder.is_dir():  # nothing was saved yet
            found.append(CheckpointList(str(folder), number))
            continue
        steps = [
            CheckpointStep(**{name: getattr(item, name) for name in item._fields})
            for item in commands.list_steps(folder)
        ]
        damaged = [
            DamagedStep(str(item.path), item.step, item.why, item.time)
            for item in commands.list_quarantined(folder)
        ]
        found.append(CheckpointList(str(folder), number, steps, damaged))
    return found


def verify_checkpoints(
    where: str,
    steps: list[int] | None = None,
    *,
    task: int | None = None,
    site: str | None = None,
) -> list[CheckpointVerdict]:
    """Read checkpoints completely and say which are whole; nothing is changed.

    Args:
        where: a run, or a folder with checkpoints.
        steps: which; None for all.
        task: only this element of the array.
        site: site.yaml or its folder; None looks in the usual places.

    Raises:
        UsageError: there is no such folder or step.
    """
    from slurmkit.checkpoint import commands  # noqa: PLC0415 - see list_checkpoints

    return [
        CheckpointVerdict(
            str(folder),
            number,
            item.step,
            item.ok,
            item.problem,
            item.size_bytes,
            item.seconds,
        )
        for number, folder in checkpoint_folders(where, task=task, site=site).items()
        for item in commands.verify_all(folder, steps)
    ]


def prune_checkpoints(
    where: str,
    keep: int,
    *,
    dry_run: bool = False,
    task: int | None = None,
    site: str | None = None,
) -> list[PrunedCheckpoints]:
    """Remove the oldest checkpoints, after making sure that the newest one is whole.

    Args:
        where: a run, or a folder with checkpoints; its job may be running.
        keep: how many of the newest stay, in each folder.
        dry_run: change nothing; say what would go.
        task: only this element of the array.
        site: site.yaml or its folder; None looks in the usual places.

    Raises:
        UsageError: there is no such folder, or ``keep`` is less than 1.
        CorruptCheckpointError: a newest step is damaged; nothing was removed there.
    """
    from slurmkit.checkpoint import commands  # noqa: PLC0415 - see list_checkpoints

    found = []
    for number, folder in checkpoint_folders(where, task=task, site=site).items():
        done = commands.prune(folder, keep, dry_run=dry_run)
        found.append(
            PrunedCheckpoints(str(folder), number, done.removed, done.kept, done.freed_bytes)
        )
    return found


def newest_checkpoint(where: str | None = None) -> Path | None:
    """Return the folder of the newest checkpoint that verifies; None when there is none.

    What does not verify is put into quarantine, so this is for the start of a program.

    Args:
        where: the folder of checkpoints, or a run; None for the one of this job.

    Raises:
        UsageError: no folder is named and this is no job with checkpoints.
        SlurmkitError: a newer start of the job has taken over, or something cannot be read.
    """
    from slurmkit.checkpoint import commands  # noqa: PLC0415 - see list_checkpoints

    return commands.newest_folder(_one(where), token=_token())


def begin_checkpoint(step: int, where: str | None = None) -> Path:
    """Return the folder that a program, in any language, writes the files of a step into.

    Args:
        step: the optimizer step, or whatever counts up.
        where: the folder of checkpoints, or a run; None for the one of this job.

    Raises:
        UsageError: no folder is named and this is no job with checkpoints.
        SlurmkitError: there is no room, or a newer start of the job has taken over.
    """
    from slurmkit.checkpoint import commands  # noqa: PLC0415 - see list_checkpoints

    return commands.begin_folder(_one(where), step, token=_token())


def commit_checkpoint(
    step: int, where: str | None = None, *, source: str | None = None, keep: int | None = None
) -> CommittedCheckpoint:
    """Make the files of a step count, all of them or none.

    Args:
        step: the step they belong to.
        where: the folder of checkpoints, or a run; None for the one of this job.
        source: folder with the files, which is taken over; None for what ``begin_checkpoint`` made.
        keep: remove older steps, so that this many stay; None for what the job says.

    Raises:
        UsageError: there is nothing to commit, or nobody says where to.
        SlurmkitError: there is no room, or a newer start of the job has taken over.
    """
    from slurmkit.checkpoint import commands  # noqa: PLC0415 - see list_checkpoints

    said = os.environ.get("SLURMKIT_CHECKPOINT_KEEP", "") if where is None else ""
    manifest = commands.commit_folder(
        _one(where),
        step,
        source=Path(source) if source is not None else None,
        token=_token(),
        keep=keep if keep is not None else int(said) if said.isdecimal() else None,
    )
    return CommittedCheckpoint(
        str(manifest.folder), manifest.step, manifest.size_bytes, len(manifest.files)
    )


def _token() -> str | None:
    """Return what shows that this attempt may commit; None outside of jobs with a supervisor."""
    return os.environ.get("SLURMKIT_FENCE") or None


def _one(where: str | None) -> Path:
    if where is None:
        folder = os.environ.get("SLURMKIT_CHECKPOINT_DIR", "")
        if not folder:
            raise UsageError(
                "nobody says which folder the checkpoints are in",
                hint="name one, or add checkpoint: to the job, which sets SLURMKIT_CHECKPOINT_DIR",
            )
        return Path(folder)
    if "/" in where:  # it need not exist yet
        return Path(where).expanduser().absolute()
    folders = checkpoint_folders(where)
    if len(folders) > 1:
        raise UsageError(f"{where} is an array; name the folder of one of its elements")
    return next(iter(folders.values()))
