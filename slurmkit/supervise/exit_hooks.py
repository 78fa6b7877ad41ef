"""The hooks of a job on the batch host: which there are, and those that follow its end."""

import os
from collections.abc import Callable, Iterable

from slurmkit.hooks.discover import VARIABLE, installed
from slurmkit.hooks.values import EndedJob, EndedTask
from slurmkit.launch.outcome import TaskExit


def hooks_of_job() -> str:
    """Return the job's hooks: those that its environment names, else those that are installed."""
    named = os.environ.get(VARIABLE)
    return installed() if named is None else named


def call_exit_hooks(
    job: EndedJob, exits: Iterable[TaskExit], hooks: str, warn: Callable[[str], None]
) -> None:
    """Call the exit hooks; none of them changes how the job ends.

    Args:
        job: the attempt that has ended.
        exits: the tasks that failed, in order.
        hooks: the hooks' names.
        warn: is told which hook failed.
    """
    from slurmkit.hooks.call import after_job  # noqa: PLC0415 (few jobs have hooks)

    tasks = [
        EndedTask(
            rank=exit_.rank,
            host=exit_.host,
            exit_code=exit_.exit_code,
            signal=exit_.signal,
            reason=exit_.reason,
            consequence=exit_.consequence,
            run_dir=job.run_dir,
        )
        for exit_ in exits
    ]
    after_job({VARIABLE: hooks}, tasks, job, warn)
