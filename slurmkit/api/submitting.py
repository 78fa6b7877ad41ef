"""Check, render, write the run directory, submit; many jobs share one round of queries."""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slurmkit.api.dependencies import Dependencies, find_dependencies
from slurmkit.api.preparing import Prepared, prepare, run_root_of, template_dirs
from slurmkit.api.run import Run
from slurmkit.api.secrets import read_secret_values
from slurmkit.check import check_job, gather_facts
from slurmkit.check.facts import LastSave
from slurmkit.errors import InvalidInputError, Problem, SlurmkitError, SlurmUnreachableError
from slurmkit.limits import Limits
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.code import CodeVersion, capture_code, write_code
from slurmkit.rundir.layout import RunDir, new_run_id
from slurmkit.rundir.secretfile import remove_secrets, write_secrets
from slurmkit.rundir.submission import Submission, new_submission, write_submission
from slurmkit.site.defaults import found_on
from slurmkit.site.lookup import FoundSite, find_site
from slurmkit.slurm import Client, SubmitRequest, SubmitResult, connect
from slurmkit.spec.loader import Job, from_spec, load
from slurmkit.spec.models import JobSpec

OnProblem = Callable[[Problem], None]
_LOOK_BACK = 3
_WRITERS = 16  # run directories are written at once; each waits for its fsyncs, not for the CPU


@dataclass(frozen=True)
class DryRun:
    """What ``--dry-run`` shows: the script, and everything that is wrong or odd."""

    prepared: Prepared
    problems: list[Problem]


@dataclass(frozen=True)
class _Cluster:
    """What all jobs of one call share."""

    found: FoundSite
    client: Client | None
    limits: Limits | None
    run_root: Path


def check(job: Job, *, site: str | None = None, backend: str | None = "auto") -> list[Problem]:
    """Compare a job with the live cluster and this host; nothing is written or submitted.

    Args:
        job: what ``load`` returned.
        site: site.yaml or its folder; None looks in the usual places.
        backend: ``auto``, ``cli`` or ``pyslurm``; None asks no cluster.

    Raises:
        SlurmUnreachableError: there is no Slurm here or it does not answer.
    """
    return dry_run(job, site=site, backend=backend).problems


def dry_run(job: Job, *, site: str | None = None, backend: str | None = "auto") -> DryRun:
    """Do everything that ``submit`` does up to the submission, and write nothing."""
    cluster = _look_at_cluster(site, backend)
    try:
        prepared, problems = _prepare_and_check(job, cluster)
    except InvalidInputError as error:
        found = find_site(site)
        return DryRun(prepare(job, site=found), list(error.problems))
    return DryRun(prepared, problems)


def submit(
    job: Job | JobSpec | str | os.PathLike[str],
    *,
    site: str | None = None,
    backend: str = "auto",
    on_problem: OnProblem | None = None,
) -> Run:
    """Check a job against the live cluster, render it and submit it.

    Args:
        job: what ``load`` returned, a spec built in Python (its paths start in the present
            folder), or the path of a job.yaml.
        site: site.yaml or its folder; None looks in the usual places.
        backend: ``auto``, ``cli`` or ``pyslurm``.
        on_problem: told of every warning.

    Raises:
        InvalidInputError: the job is wrong; nothing was submitted.
        SlurmUnreachableError: there is no Slurm here or it does not answer.
        SlurmError: Slurm refused it.
    """
    if isinstance(job, JobSpec):
        job = from_spec(job, Path.cwd())
    elif not isinstance(job, Job):
        job = load(job)
    return submit_many([job], site=site, backend=backend, on_problem=on_problem)[0]


def submit_many(
    jobs: Sequence[Job],
    *,
    site: str | None = None,
    backend: str = "auto",
    on_problem: OnProblem | None = None,
) -> list[Run]:
    """Submit jobs by one round of queries; each is checked before the first is submitted.

    Args:
        jobs: what ``load`` returned.
        site: site.yaml or its folder; None looks in the usual places.
        backend: ``auto``, ``cli`` or ``pyslurm``.
        on_problem: told of every warning.

    Raises:
        InvalidInputError: a job is wrong; nothing was submitted.
        SlurmkitError: Slurm refused a job; the message says which were submitted all the same.
    """
    cluster = _look_at_cluster(site, backend)
    assert cluster.client is not None
    ready: list[Prepared] = []
    errors: list[Problem] = []
    for job in jobs:
        prepared, problems = _prepare_and_check(job, cluster)
        ready.append(prepared)
        errors += [problem for problem in problems if not problem.warning]
        for problem in problems:
            if problem.warning and on_problem is not None:
                on_problem(problem)
    if errors:
        raise InvalidInputError(errors)
    secrets = [read_secret_values(job.spec, job.base_dir) for job in jobs]
    snapshots = {
        workdir: capture_code(
            workdir, redact=[value for values in secrets for value in values.values()]
        )
        for workdir in {job.base_dir for job in jobs}
    }

    def write(index: int) -> RunDir:
        prepared = ready[index]
        return _write_run_dir(prepared, secrets[index], snapshots[prepared.job.base_dir])

    with ThreadPoolExecutor(_WRITERS) as pool:
        run_dirs = list(pool.map(write, range(len(ready))))
    requests = [
        SubmitRequest(
            script=run_dir.script_path,
            token=run_dir.run_id,
            cwd=prepared.job.base_dir,
            secret_names=frozenset(_secret_sources(prepared.job)),
        )
        for prepared, run_dir in zip(ready, run_dirs, strict=True)
    ]
    outcomes = cluster.client.submit_many(requests)
    return _record(ready, run_dirs, outcomes, cluster.client)


def _look_at_cluster(site: str | None, backend: str | None) -> _Cluster:
    found = find_site(site)
    client = connect(backend) if backend is not None else None
    limits = client.limits() if client is not None else None
    if limits is not None and found.path is None:
        found = found_on(limits)
    return _Cluster(found, client, limits, run_root_of(found))


def _prepare_and_check(job: Job, cluster: _Cluster) -> tuple[Prepared, list[Problem]]:
    depends = (
        find_dependencies(job, cluster.run_root, cluster.client)
        if cluster.client is not None
        else Dependencies()
    )
    prepared = prepare(
        job,
        site=cluster.found,
        limits=cluster.limits,
        run_id=new_run_id(),
        dependencies=depends.still_open(),
    )
    facts = gather_facts(
        job,
        prepared.plan,
        cluster.run_root,
        known_jobs=depends.states,
        template_dirs=template_dirs(job, cluster.found),
        last_save=_last_save(job, cluster.run_root),
    )
    found = check_job(
        job, prepared.plan, cluster.found.site, cluster.limits, facts, prepared.script
    )
    return prepared, [*job.warnings, *found]


def _last_save(job: Job, run_root: Path) -> LastSave | None:
    """Return what checkpoints cost in the newest run of this name that made any."""
    if job.spec.checkpoint is None:
        return None
    from slurmkit.observe.report import report_run  # noqa: PLC0415 - few jobs save
    from slurmkit.rundir.lookup import list_runs  # noqa: PLC0415

    for run in list_runs(run_root, job.spec.name)[:_LOOK_BACK]:
        try:
            saves = [element.saves for element in report_run(run).elements]
        except SlurmkitError:
            continue  # a damaged ledger tells nothing, and stops nobody
        slowest = [save.max_save_s for save in saves if save.max_save_s is not None]
        largest = [save.max_size_bytes for save in saves if save.max_size_bytes is not None]
        if slowest and largest:
            return LastSave(max(slowest), max(largest))
    return None


def _write_run_dir(
    prepared: Prepared, secrets: dict[str, str], snapshot: tuple[CodeVersion, bytes]
) -> RunDir:
    assert prepared.run_dir is not None
    run = RunDir.create(prepared.run_root, prepared.job.spec.name, prepared.run_dir.name)
    atomic_write(run.spec_path, prepared.job.text)
    atomic_write(run.resolved_path, prepared.job.resolved_yaml())
    atomic_write(run.plan_path, prepared.plan.to_json())
    atomic_write(run.script_path, prepared.script, mode=0o755)
    write_code(run, *snapshot)
    if secrets:
        write_secrets(run.path, secrets)
    return run


def _record(
    ready: Sequence[Prepared],
    run_dirs: Sequence[RunDir],
    outcomes: Sequence[SubmitResult | SlurmkitError],
    client: Client,
) -> list[Run]:
    taken: list[tuple[RunDir, Submission]] = []
    refused: list[SlurmkitError] = []
    for prepared, run_dir, outcome in zip(ready, run_dirs, outcomes, strict=True):
        if isinstance(outcome, SlurmkitError):
            if isinstance(outcome, SlurmUnreachableError):
                # Slurm may have taken it all the same: then it needs its folder, and
                # `slurmkit status` finds it by its token.
                outcome.hint += f"\n    its files are kept in {run_dir.path}"
            else:
                _discard(run_dir)
            refused.append(outcome)
            continue
        submission = new_submission(
            str(outcome.job_id),
            outcome.cluster,
            outcome.backend,
            run_dir.run_id,
            is_array=prepared.plan.is_array,
        )
        taken.append((run_dir, submission))
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(lambda pair: write_submission(*pair), taken))
    runs = [Run(run_dir, submission, client) for run_dir, submission in taken]
    if refused:
        error = refused[0]
        if runs:
            names = ", ".join(f"{run.name} (job {run.job_id})" for run in runs)
            error.hint += f"\n    {len(refused)} of {len(ready)} refused; submitted: {names}"
        raise error
    return runs


def _discard(run: RunDir) -> None:
    """Remove the folder of a run that never was, secrets first."""
    remove_secrets(run.path)
    shutil.rmtree(run.path, ignore_errors=True)
    with contextlib.suppress(OSError):  # other runs of that name are in it
        run.path.parent.rmdir()


def _secret_sources(job: Job) -> set[str]:
    """Return the variables that hold secrets here and must not reach the job through Slurm."""
    return {secret.name for secret in job.spec.secrets} | {
        secret.env for secret in job.spec.secrets if secret.env and secret.env in os.environ
    }
