"""Runs found again, one or all, with Slurm asked once."""

from collections.abc import Callable

from slurmkit.api.preparing import run_root_of
from slurmkit.api.run import Run
from slurmkit.api.status import RunStatus
from slurmkit.errors import Problem, SlurmkitError, SlurmUnreachableError
from slurmkit.rundir import lookup
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.submission import Submission, read_submission
from slurmkit.site.lookup import find_site
from slurmkit.slurm import Client, JobInfo, connect


def find_run(text: str, *, site: str | None = None, backend: str = "auto") -> Run:
    """Return the run that a name (its newest), run id, job id or folder means.

    Logs and the ledger can be read where there is no Slurm, so none is asked yet.

    Raises:
        RunNotFoundError: there is none; the hint names what is close.
    """
    run_dir = lookup.find_run(run_root_of(find_site(site)), text)
    client = _client_or_none(backend)
    return Run(run_dir, _submission(run_dir, client), client)


def list_status(
    *,
    site: str | None = None,
    backend: str = "auto",
    limit: int = 20,
    on_problem: Callable[[Problem], None] | None = None,
) -> list[RunStatus]:
    """Return the newest runs, the newest first; one question to Slurm however many there are.

    Args:
        site: site.yaml or its folder; None looks in the usual places.
        backend: ``auto``, ``cli`` or ``pyslurm``.
        limit: how many runs at most.
        on_problem: told when Slurm does not answer, so that only the run directories speak.
    """
    run_root = run_root_of(find_site(site))
    client = _client_or_none(backend)
    runs = []
    for run_dir in lookup.list_runs(run_root)[:limit]:
        try:
            runs.append(Run(run_dir, _submission(run_dir, client), client))
        except SlurmkitError:
            continue  # one damaged run must not hide the others; `status RUN` tells what it is
    job_ids = [job_id for run in runs for job_id in run.job_ids()]
    jobs: list[JobInfo] = []
    try:
        if client is not None and job_ids:
            jobs = list(client.jobs(job_ids).values())
    except SlurmUnreachableError as error:
        if on_problem is not None:
            message = f"states are from the run directories alone: {error.message}"
            on_problem(Problem(message, code="slurm-unreachable", warning=True))
    return [run.status_from(jobs) for run in runs]


def _client_or_none(backend: str) -> Client | None:
    try:
        return connect(backend)
    except SlurmUnreachableError:
        if backend != "auto":
            raise
        return None


def _submission(run_dir: RunDir, client: Client | None) -> Submission:
    """Return how the run was submitted, also when the submitter died before it could note it."""
    submission = read_submission(run_dir)
    if submission is not None:
        return submission
    started = run_dir.path.stat().st_mtime
    if run_dir.run_id.startswith("job-"):  # plain sbatch of a rendered script
        is_array = (run_dir.path / "array").is_dir()
        job_id = run_dir.run_id.removeprefix("job-")
        return Submission(job_id, "", "sbatch", "", started, "", "", is_array)
    try:
        job = client.find_by_token(run_dir.run_id) if client is not None else None
    except SlurmUnreachableError:
        job = None
    if job is not None:
        is_array = job.array_job_id is not None
        job_id = str(job.key.job_id)
        return Submission(job_id, "", "cli", run_dir.run_id, started, job.user, "", is_array)
    return Submission("", "", "none", run_dir.run_id, started, "", "")
