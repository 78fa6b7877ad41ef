"""Submit the job that goes on with a run, exactly once, from whichever node notices first.

The supervisor does it, or, when the first node died with it, one of the agents. Two things keep it
to one job: a claim in the run directory that only one process can create, and a token in the job's
comment that follows from the incarnation, so that whoever takes up an unfinished claim finds a job
that was submitted already.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import RefusedError, SlurmError, SlurmkitError
from slurmkit.hostlist import HostlistError, compress, expand
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.jobs import is_cancelled
from slurmkit.rundir.layout import ElementDir, RunDir
from slurmkit.rundir.ledger import read_ledger
from slurmkit.rundir.secretfile import read_secrets
from slurmkit.rundir.submission import INDEX_NAME, index_path
from slurmkit.supervise.boot import requeued_path
from slurmkit.supervise.context import ARRAY_SIZE_VARIABLE, CONTINUE_VARIABLE

# Another process that has claimed it is given this long before its claim is taken up.
_CLAIM_S = 90.0
# Directives that a successor must not have: what it waited for is over, and may be forgotten.
_DROPPED = re.compile(
    r"^#SBATCH\s+(?:--dependency|-d|--kill-on-invalid-dep|--begin|-b|--hold|-H)\b.*\n", re.MULTILINE
)


@dataclass(frozen=True)
class Predecessor:
    """The job that a successor goes on for.

    Attributes:
        job_id: its own id.
        key: how to name it to Slurm, such as ``12`` or ``12_3``.
        incarnation: which of its lives it was.
        array_task: the array's index; None for a job that is no array.
        array_size: how many elements the array has; 0 for a job that is no array.
    """

    job_id: str
    key: str
    incarnation: str
    array_task: int | None = None
    array_size: int = 0


def submit(
    run: RunDir,
    former: Predecessor,
    exclude: Iterable[str],
    *,
    environ: Mapping[str, str] | None = None,
    cancel_former: bool = False,
) -> str:
    """Submit the successor of a job, or return the one that another process has submitted.

    Args:
        run: the run that goes on.
        former: the job that cannot go on.
        exclude: nodes that the successor must not get.
        environ: the environment to submit with; None for this process's.
        cancel_former: cancel the former job then: its supervisor is dead, and its nodes are needed.

    Returns:
        The successor's id.

    Raises:
        SlurmUnreachableError: no controller answers; it is safe to try again.
        SlurmkitError: Slurm refuses, there is no script, or another process is at it.
    """
    if is_cancelled(run, former.array_task):
        raise SlurmkitError("the run was cancelled, so that no job goes on with it")
    element = run.element(former.array_task)
    claim = claim_path(element, former.incarnation)
    known = _claim(claim)
    if not known:
        known = _submit(run, former, sorted(set(exclude)), environ)
        atomic_write(claim, json.dumps({"job_id": known, "host": os.uname().nodename}) + "\n")
        _note_in_index(run, known)
        _redirect(former, known, environ)
    if cancel_former:
        _cancel(former.key, environ)
    return known


def claim_path(element: ElementDir, incarnation: str) -> Path:
    """Return where it is noted who submits the successor of an incarnation, and what came of it."""
    return element.path / "control" / f"successor-{incarnation}.json"


def _claim(path: Path) -> str:
    """Make the claim ours, or return the job that whoever had it has submitted.

    Raises:
        SlurmkitError: another process has it and has not finished.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as file:
            json.dump({"host": os.uname().nodename, "pid": os.getpid()}, file)
        return ""
    try:
        noted = json.loads(path.read_bytes() or b"{}")
        age_s = time.time() - path.stat().st_mtime
    except (OSError, ValueError):
        noted, age_s = {}, 0.0
    if noted.get("job_id"):
        return str(noted["job_id"])
    ours = (noted.get("host"), noted.get("pid")) == (os.uname().nodename, os.getpid())
    if age_s < _CLAIM_S and not ours:
        raise SlurmkitError(f"{noted.get('host', 'another node')} is submitting the successor")
    return ""


def _submit(
    run: RunDir, former: Predecessor, exclude: Sequence[str], environ: Mapping[str, str] | None
) -> str:
    from slurmkit.slurm.cli import CliClient  # noqa: PLC0415 (few jobs have a successor)
    from slurmkit.slurm.client import SubmitRequest  # noqa: PLC0415

    environ = os.environ if environ is None else environ
    args = []
    if former.array_task is not None:
        args.append(f"--array={former.array_task}")
    nodes = _with_users_own(former, exclude, environ)
    if nodes:
        args.append(f"--exclude={compress(nodes)}")
    env = {CONTINUE_VARIABLE: str(run.path)}
    if former.array_size:
        env[ARRAY_SIZE_VARIABLE] = str(former.array_size)
    workdir = environ.get("SLURM_SUBMIT_DIR", "")
    request = SubmitRequest(
        script=_DROPPED.sub("", _script(run, former, environ)),
        args=args,
        token=hashlib.blake2b(former.incarnation.encode(), digest_size=16).hexdigest(),
        comment=f"goes on for {former.key}",
        cwd=Path(workdir) if workdir and Path(workdir).is_dir() else run.path,
        env=env,
        secret_names=frozenset(read_secrets(run.path) or {}),
        again=True,
    )
    return str(CliClient(environ).submit(request).job_id)


def _with_users_own(
    former: Predecessor, exclude: Sequence[str], environ: Mapping[str, str]
) -> list[str]:
    """Return the nodes to exclude and the user's own: the option replaces the script's."""
    if not exclude:
        return []
    from slurmkit.slurm.control import JobControl  # noqa: PLC0415

    with contextlib.suppress(SlurmError, HostlistError):
        own = JobControl(environ).running_job(former.key).excluded
        return list(dict.fromkeys([*expand(own), *exclude])) if own else list(exclude)
    return list(exclude)


def _script(run: RunDir, former: Predecessor, environ: Mapping[str, str]) -> str:
    """Return the batch script: the run's own, else what Slurm has of the job."""
    try:
        return run.script_path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        from slurmkit.slurm.control import JobControl  # noqa: PLC0415

        return JobControl(environ).batch_script(former.key)


def _note_in_index(run: RunDir, job_id: str) -> None:
    """Let ``slurmkit status JOB`` find the run by its new job; without the note it searches."""
    with contextlib.suppress(OSError):
        (run.run_root / INDEX_NAME).mkdir(exist_ok=True)
        index_path(run.run_root, job_id).write_text(f"{run.path}\n", encoding="utf-8")


def _redirect(former: Predecessor, job_id: str, environ: Mapping[str, str] | None) -> None:
    """Let jobs that wait for this run wait for its new job, before the old one ends as failed."""
    from slurmkit.slurm.dependants import redirect  # noqa: PLC0415

    with contextlib.suppress(SlurmkitError):  # the run matters more than who waits for it
        redirect(former.key, job_id, environ)


def _cancel(key: str, environ: Mapping[str, str] | None) -> None:
    from slurmkit.slurm.cli import CliClient  # noqa: PLC0415

    with contextlib.suppress(SlurmkitError):  # its successor does so, too
        CliClient(environ).cancel([key])


def submit_from_agent(element_dir: str, incarnation: str, host: str) -> str:
    """Let a run go on whose supervisor is dead; called on another node of its job.

    A job with --no-kill that loses its first node keeps the others until its time limit, with
    nobody to use them (seen on 22.05), so it is always ended.

    Args:
        element_dir: the part of the run that the supervisor owned.
        incarnation: the life of the job that is over.
        host: where this runs.

    Returns:
        The id of the job that goes on; empty when the run ends here.

    Raises:
        SlurmkitError: see ``submit``.
    """
    element = ElementDir(Path(element_dir))
    records = [r for r in read_ledger(element.ledger_path) if r.incarnation == incarnation]
    fields = next((r.fields for r in records if r.event == "incarnation_started"), {})
    task, job_id = fields.get("array_task"), incarnation.partition(".")[0]
    former = Predecessor(job_id, job_id, incarnation, task, int(fields.get("array_size") or 0))
    run = RunDir(element.path if task is None else element.path.parent.parent)
    bad = {str(r.fields["host"]) for r in records if r.event == "node_excluded"}
    for remedy in fields.get("remedies") or ():
        with contextlib.suppress(RefusedError):
            if remedy == "successor":
                exclude = (bad | {str(fields.get("host") or "")}) - {"", host}
                return submit(run, former, exclude, cancel_former=True)
            if remedy == "requeue":
                from slurmkit.slurm.control import JobControl  # noqa: PLC0415

                requeued_path(element, incarnation).touch()
                JobControl().requeue(job_id)
                return job_id
        if remedy == "stop":
            break
    _cancel(job_id, None)
    return ""
