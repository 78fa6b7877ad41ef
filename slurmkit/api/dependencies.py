"""`after:` in a job.yaml: from names of runs to ids of jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.api.run import Run
from slurmkit.errors import InvalidInputError, Problem, RunNotFoundError
from slurmkit.rundir.lookup import find_run
from slurmkit.rundir.submission import read_submission
from slurmkit.slurm import Client, JobInfo
from slurmkit.spec.loader import Job
from slurmkit.spec.models import is_job_id


@dataclass(frozen=True)
class Dependency:
    """One job that comes first.

    Attributes:
        when: ``ok``, ``any``, ``notok`` or ``start``.
        name: what the job file calls it.
        job_id: its Slurm job id.
        run: the run it belongs to; None for a job that slurmkit did not submit.
        state: its state as Slurm or its ledger knows it; None for a job that nobody knows.
    """

    when: str
    name: str
    job_id: str
    run: Run | None
    state: str | None = None

    @property
    def is_met(self) -> bool:
        """Whether nothing is left to wait for.

        A job that ended well is not waited for: once Slurm forgets it, a dependency on it would
        be refused or never met.
        """
        return self.state == "COMPLETED" and self.when != "notok"


@dataclass(frozen=True)
class Dependencies:
    """All that a job waits for, in the order of its file."""

    items: tuple[Dependency, ...] = ()

    @property
    def states(self) -> dict[str, str | None]:
        """State by what the job file calls it."""
        return {item.name: item.state for item in self.items}

    def still_open(self) -> tuple[tuple[str, str], ...]:
        """Return the (when, job id) pairs that the new job must wait for."""
        return tuple((item.when, item.job_id) for item in self.items if not item.is_met)


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
    found: list[Dependency] = []
    for index, item in enumerate(job.spec.after):
        name = str(item.run)
        try:
            job_id, run = _look_up(name, run_root, client)
            found.append(Dependency(item.when, name, job_id, run))
        except RunNotFoundError as error:
            key = f"after.{index}"
            problems.append(
                Problem(error.message, key, job.source.locate(key), error.hint, "unknown-run")
            )
    if problems:
        raise InvalidInputError(problems)
    return Dependencies(_with_states(found, client))


def _look_up(text: str, run_root: Path, client: Client | None) -> tuple[str, Run | None]:
    try:
        run_dir = find_run(run_root, text)
    except RunNotFoundError:
        if is_job_id(text):  # a job that slurmkit did not submit
            return text, None
        raise
    submission = read_submission(run_dir)
    if submission is None or not submission.job_id:
        raise RunNotFoundError(
            f"run {run_dir.path} was never submitted, so nothing can come after it",
            hint="name a run that was submitted with `slurmkit submit`, or a job id",
        )
    run = Run(run_dir, submission, client)
    # An array's elements may each have gone on in another job; no dependency could name them all.
    return submission.job_id if submission.array else run.job_ids()[-1], run


def _with_states(found: Sequence[Dependency], client: Client | None) -> tuple[Dependency, ...]:
    if client is None or not found:
        return tuple(found)
    ids = [id_ for item in found for id_ in (item.run.job_ids() if item.run else [item.job_id])]
    jobs = list(client.jobs(ids).values())
    return tuple(
        Dependency(item.when, item.name, item.job_id, item.run, _state(item, jobs))
        for item in found
    )


def _state(item: Dependency, jobs: list[JobInfo]) -> str | None:
    """Return the state of a job; of an array that of a task which did not end well, if any."""
    if item.run is not None:  # Slurm forgets jobs; their ledgers do not
        state = item.run.status_from(jobs).state
        return None if state == "UNKNOWN" else state
    states = [
        job.state.value
        for job in jobs
        if item.job_id in (str(job.key), str(job.key.job_id)) and not job.is_unknown
    ]
    if not states:
        return None
    return next((state for state in states if state != "COMPLETED"), "COMPLETED")
