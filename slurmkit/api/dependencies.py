"""`after:` in a job.yaml: from names of runs to ids of jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slurmkit.errors import InvalidInputError, Problem, RunNotFoundError
from slurmkit.rundir.lookup import find_run
from slurmkit.rundir.submission import read_submission
from slurmkit.slurm import Client, JobInfo
from slurmkit.spec.loader import Job
from slurmkit.spec.models import is_job_id


@dataclass(frozen=True)
class Dependencies:
    """What a job waits for.

    Attributes:
        wanted: (``ok`` | ``any`` | ``notok`` | ``start``, job id) pairs, in the order of the file.
        states: state by job id as Slurm knows it; None for a job that Slurm does not know.
    """

    wanted: tuple[tuple[str, str], ...] = ()
    states: dict[str, str | None] = field(default_factory=dict)

    def still_open(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs that the new job must wait for.

        A job that ended well is not waited for: once Slurm forgets it, a dependency on it would
        be refused or never met.
        """
        return tuple(
            (when, job_id)
            for when, job_id in self.wanted
            if not (when in ("ok", "any", "start") and self.states.get(job_id) == "COMPLETED")
        )


def find_dependencies(job: Job, run_root: Path, client: Client | None) -> Dependencies:
    """Look up the jobs that a job comes after.

    Args:
        job: the job.
        run_root: where names of runs are looked up.
        client: the cluster; None to leave all states unknown.

    Raises:
        InvalidInputError: a named run does not exist or was never submitted.
    """
    problems: list[Problem] = []
    wanted: list[tuple[str, str]] = []
    for index, item in enumerate(job.spec.after):
        try:
            wanted.append((item.when, _job_id(str(item.run), run_root)))
        except RunNotFoundError as error:
            key = f"after.{index}"
            problems.append(
                Problem(error.message, key, job.source.locate(key), error.hint, "unknown-run")
            )
    if problems:
        raise InvalidInputError(problems)
    return Dependencies(tuple(wanted), _states([job_id for _, job_id in wanted], client))


def _job_id(text: str, run_root: Path) -> str:
    try:
        run = find_run(run_root, text)
    except RunNotFoundError:
        if is_job_id(text):  # a job that slurmkit did not submit
            return text
        raise
    submission = read_submission(run)
    if submission is None:
        raise RunNotFoundError(
            f"run {run.path} was never submitted, so nothing can come after it",
            hint="name a run that was submitted with `slurmkit submit`, or a job id",
        )
    return submission.job_id


def _states(job_ids: Sequence[str], client: Client | None) -> dict[str, str | None]:
    if client is None or not job_ids:
        return {}
    found = client.jobs(job_ids)
    return {job_id: _state_of(job_id, list(found.values())) for job_id in job_ids}


def _state_of(job_id: str, jobs: list[JobInfo]) -> str | None:
    """Return the state of a job; of an array that of a task which did not end well, if any."""
    states = [
        job.state.value
        for job in jobs
        if job_id in (str(job.key), str(job.key.job_id)) and not job.is_unknown
    ]
    if not states:
        return None
    return next((state for state in states if state != "COMPLETED"), "COMPLETED")
