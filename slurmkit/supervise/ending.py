"""What is cleaned up when a job ends for good, and how to know that it does."""

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.secretfile import remove_secrets
from slurmkit.supervise.context import JobContext


def remove_secrets_if_over(run: RunDir, job: JobContext, *, cancelled: bool) -> bool:
    """Remove the run's secrets if nothing of the job will need them; return whether it did.

    Args:
        run: the run.
        job: the job that has just ended.
        cancelled: whether a signal ended it: then Slurm may run it again.
    """
    if cancelled and will_run_again(job):
        return False
    element = run.element(job.array_task)
    try:
        atomic_write(element.ended_path, "")
        if job.array_size and _num_ended(run) < job.array_size:
            return False
        return remove_secrets(run.path)
    except OSError as error:
        raise SlurmkitError(
            f"the secrets of {run.path} could not be removed: {error}",
            hint=f"remove {run.path}/secrets.env yourself",
        ) from error


def _num_ended(run: RunDir) -> int:
    return sum(element.ended_path.exists() for element in run.elements().values())


def will_run_again(job: JobContext) -> bool:
    """Whether Slurm will start this job anew: TERM comes before a requeue as before the end.

    When Slurm cannot be asked, the answer is no: secrets that nobody needs are worse than a
    restarted run that says it lacks them.
    """
    if not job.job_id.isdigit():
        return False
    from slurmkit.slurm.client import connect  # noqa: PLC0415 (only a job that was signalled asks)
    from slurmkit.slurm.states import JobState  # noqa: PLC0415

    again = {JobState.PENDING, JobState.REQUEUED, JobState.PREEMPTED, JobState.CONFIGURING}
    try:
        info = connect("cli").job(job.job_id)
    except SlurmkitError:
        return False
    return info.state in again or info.base_state in again
