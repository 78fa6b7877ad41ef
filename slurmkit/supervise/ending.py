"""What becomes of a job that ends, and what is cleaned up when it ends for good."""

from dataclasses import dataclass

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.secretfile import remove_secrets
from slurmkit.supervise.context import JobContext

# Slurm's words for a job that it is ending, and ours in the ledger.
_ENDED = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node_fail",
    "OUT_OF_MEMORY": "failed",
    "FAILED": "failed",
}
_AGAIN = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
_ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Fate:
    """What Slurm is about to do with a job.

    Attributes:
        state: what the ledger says of the attempt; empty when Slurm is doing nothing with it.
        again: whether it will start the job anew.
    """

    state: str = ""
    again: bool = False


def fate_of(*states: str) -> Fate:
    """Return the fate of a job that is in these states (squeue(1), JOB STATE CODES)."""
    if not _AGAIN.isdisjoint(states):
        return Fate("requeued", again=True)
    return next((Fate(_ENDED[state]) for state in states if state in _ENDED), Fate())


def ask_fate(job: JobContext) -> Fate:
    """Ask Slurm what it is about to do: TERM comes before a requeue as it does before the end.

    When Slurm does not answer, nothing is known: secrets that nobody needs any more are worse than
    a restarted run that says it lacks them, so that counts as the end.
    """
    if not job.key:
        return Fate()
    from slurmkit.slurm.cli import CliClient  # noqa: PLC0415 (only jobs that go wrong ask)

    try:
        info = CliClient(timeout_s=_ASK_TIMEOUT_S).job(job.key)
    except SlurmkitError:
        return Fate()
    return fate_of(str(info.state), str(info.base_state))


def remove_secrets_if_over(run: RunDir, job: JobContext) -> bool:
    """Remove the run's secrets once no element of the job needs them; return whether it did.

    Args:
        run: the run.
        job: the job, which has ended for good.

    Raises:
        SlurmkitError: the file system refuses.
    """
    try:
        atomic_write(run.element(job.array_task).ended_path, "")
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
