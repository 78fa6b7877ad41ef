"""What is done when a job ends: its secrets are removed, and the site's hooks are called."""

import os
from collections.abc import Callable
from types import MappingProxyType

from slurmkit.errors import SlurmkitError
from slurmkit.hooks.values import EndedJob
from slurmkit.rundir.layout import RunDir
from slurmkit.supervise.attempt import Attempt
from slurmkit.supervise.context import JobContext
from slurmkit.supervise.ending import remove_secrets_if_over
from slurmkit.supervise.exit_hooks import call_exit_hooks


def remove_secrets(run: RunDir, job: JobContext, warn: Callable[[str], None]) -> bool:
    """Remove the run's secrets once no element of the job needs them; return whether it did."""
    try:
        return remove_secrets_if_over(run, job)
    except SlurmkitError as error:
        warn(str(error))
        return False


def call_hooks(
    attempt: Attempt, job: JobContext, code: int, hooks: str, warn: Callable[[str], None]
) -> None:
    """Call the exit hooks of the site, if there are any, for the last attempt of a job.

    Args:
        attempt: the attempt.
        job: the job.
        code: what the job returns.
        hooks: the hooks' names; empty for none.
        warn: is told which hook failed.
    """
    if not hooks:
        return
    exits = attempt.recorder.exits
    ended = EndedJob(
        job_id=job.job_id,
        attempt=attempt.plan.number,
        exit_code=code,
        nodes=job.nodes,
        host=job.host,
        num_failed_tasks=len(exits) + attempt.recorder.num_omitted,
        run_dir=str(attempt.plan.env["SLURMKIT_RUN_DIR"]),
        environment=MappingProxyType(dict(os.environ)),
    )
    call_exit_hooks(ended, exits, hooks, warn)
