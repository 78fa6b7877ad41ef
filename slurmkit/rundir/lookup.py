"""Find runs again: by folder, run id, name or job id."""

import calendar
import difflib
import os
import re
import time
from pathlib import Path

from slurmkit.errors import RunNotFoundError, SlurmkitError
from slurmkit.names import path_component
from slurmkit.rundir.jobs import has_had
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.submission import index_path, read_submission

_RUN_ID = re.compile(r"(\d{8}-\d{6})-[0-9a-f]{6}")
_JOB_ID = re.compile(r"(\d+)(?:_\d+)?")
# What tells a run from any other folder.
_MARKS = ("ledger.jsonl", "submission.json", "spec.yaml", "job.sbatch", "logs", "array")


def list_runs(run_root: Path, name: str | None = None) -> list[RunDir]:
    """Return the runs under a run root, the newest first.

    Args:
        run_root: the folder of all runs; none there is no run.
        name: only runs of this name.
    """
    names = _folders(run_root) if name is None else [run_root / path_component(name)]
    runs = [RunDir(path) for folder in names for path in _folders(folder) if is_run(path)]
    return sorted(runs, key=_started, reverse=True)


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory."""
    return any((path / mark).exists() for mark in _MARKS)


def find_run(run_root: Path, text: str) -> RunDir:
    """Return the run that a user means.

    Args:
        run_root: the folder of all runs.
        text: a run's folder, its id, its job id (``12`` or ``12_3``), or a name, which means the
            newest run of that name.

    Raises:
        RunNotFoundError: there is none; the hint names what is close.
    """
    if "/" in text or text in (".", ".."):
        path = Path(text).absolute()
        if is_run(path):
            return RunDir(path)
        raise RunNotFoundError(f"{text} is not a run directory")
    if _RUN_ID.fullmatch(text):
        for folder in _folders(run_root):
            if is_run(folder / text):
                return RunDir(folder / text)
    if (match := _JOB_ID.fullmatch(text)) and (run := find_job(run_root, match[1])):
        return run
    runs = list_runs(run_root, text)
    if runs:
        return runs[0]
    raise RunNotFoundError(f"no run {text!r} under {run_root}", hint=_nearest(run_root, text))


def find_job(run_root: Path, job_id: str) -> RunDir | None:
    """Return the run whose job has this id, the newest if ids were used twice; None for none."""
    try:
        noted = RunDir(Path(index_path(run_root, job_id).read_text(encoding="utf-8").strip()))
    except OSError:
        noted = None
    if noted and _has_job(noted, job_id):
        return noted
    return next((run for run in list_runs(run_root) if _has_job(run, job_id)), None)


def _has_job(run: RunDir, job_id: str) -> bool:
    if run.run_id == f"job-{job_id}":  # made by a script that was rendered, not submitted
        return True
    try:
        submission = read_submission(run)
    except SlurmkitError:
        return False  # one damaged run must not hide all others
    if submission is not None and submission.job_id == job_id:
        return True
    return has_had(run, job_id)


def _nearest(run_root: Path, text: str) -> str:
    names = [folder.name for folder in _folders(run_root)]
    if not names:
        return "there are no runs there yet; is the run root right?"
    close = difflib.get_close_matches(path_component(text), names, n=3)
    return f"did you mean {', '.join(close)}?" if close else f"names there: {', '.join(names[:8])}"


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [parent / name for name in sorted(names)]


def _started(run: RunDir) -> tuple[float, str]:
    """Return when a run was made: what its id says, else when its folder was last changed."""
    if match := _RUN_ID.fullmatch(run.run_id):
        try:
            return calendar.timegm(time.strptime(match[1], "%Y%m%d-%H%M%S")), run.run_id
        except ValueError:
            pass
    return run.path.stat().st_mtime, run.run_id
