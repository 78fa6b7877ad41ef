"""Start a run that stopped again, in its own run directory."""

import json
import re
import time
from pathlib import Path

from slurmkit.api.run import Run
from slurmkit.api.secrets import read_secret_values
from slurmkit.errors import UsageError
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.jobs import CONTROL_NAME, unmark_cancelled
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.secretfile import write_secrets
from slurmkit.rundir.submission import INDEX_NAME, index_path
from slurmkit.slurm import Client, SubmitRequest
from slurmkit.slurm.client import new_token
from slurmkit.spec.loader import load

_COMPLETED = "COMPLETED"
# What the first job waited for is over, and may be forgotten.
_DROPPED = re.compile(
    r"^#SBATCH (?:--dependency|--kill-on-invalid-dep|--begin|--hold)\b.*\n", re.MULTILINE
)


def resume_run(run: Run, run_dir: RunDir, client: Client | None) -> str:
    """Submit the run's script again, so that it goes on in the same folder; see Run.resume."""
    script = run_dir.script_path
    if client is None or not run.job_id or not script.is_file():
        raise UsageError(
            f"{run.name}/{run.run_id} was not submitted by slurmkit, so it cannot be resumed",
            hint="submit its job file again",
        )
    status = run.status()
    if not status.done:
        raise UsageError(f"{run.name} is {status.state} as job {status.job_id}; nothing to resume")
    tasks = [element.task for element in status.elements if element.state != _COMPLETED]
    if not tasks:
        raise UsageError(f"{run.name}/{run.run_id} is complete: nothing to resume")
    env = {"SLURMKIT_CONTINUE": str(run_dir.path)}
    args = []
    if tasks != [None]:
        args = [f"--array={','.join(str(task) for task in tasks)}"]
        env["SLURMKIT_ARRAY_SIZE"] = str(len(status.elements))
    secrets = _restore_secrets(run_dir)
    unmark_cancelled(run_dir)
    result = client.submit(
        SubmitRequest(
            script=_DROPPED.sub("", script.read_text(encoding="utf-8", errors="surrogateescape")),
            args=args,
            token=new_token(),
            comment=f"resumes {run_dir.run_id}",
            cwd=run_dir.path,
            env=env,
            secret_names=frozenset(secrets),
        )
    )
    job_id = str(result.job_id)
    _note(run_dir, tasks, job_id)
    return job_id


def _restore_secrets(run_dir: RunDir) -> dict[str, str]:
    """Write the secrets, which were removed at the run's end, from their sources again."""
    try:
        plan = json.loads(run_dir.plan_path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not plan.get("secrets"):
        return {}
    values = read_secret_values(load(run_dir.resolved_path).spec, Path.cwd())
    write_secrets(run_dir.path, values)
    return values


def _note(run_dir: RunDir, tasks: list[int | None], job_id: str) -> None:
    """Write down which job has the run now, as for a successor."""
    for task in tasks:
        folder = run_dir.element(task).path / CONTROL_NAME
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"successor-resumed-{time.time_ns()}.json"
        atomic_write(folder / name, json.dumps({"job_id": job_id}))
    index = run_dir.run_root / INDEX_NAME
    index.mkdir(exist_ok=True)
    index_path(run_dir.run_root, job_id).write_text(f"{run_dir.path}\n", encoding="utf-8")
