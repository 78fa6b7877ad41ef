"""What becomes of a job that ends, and what is cleaned up when it ends for good."""

import re
from collections.abc import Collection
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
# What slurmstepd writes into rank 0's stream when it ends a step: 22.05 begins it with its name,
# 26.05 with the time.
_CANCELLED = re.compile(
    rb"(?:slurmstepd\S*|\[\S+\]) error: \*\*\* (?:STEP|JOB) \S+ ON \S+ CANCELLED AT \S+"
    rb"(?: DUE TO ([A-Z]+(?: [A-Z]+)*))?"
)
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


def fate_of(states: Collection[str], said: bytes) -> Fate:
    """Return the fate of a job.

    Releases before 23.02 say no more than COMPLETING of a job that they are ending, be it cancelled
    or requeued; what slurmstepd wrote when it ended the step tells these apart.

    Args:
        states: the states that the job is in (squeue(1), JOB STATE CODES).
        said: the end of what its ranks and launcher wrote.
    """
    found = _CANCELLED.findall(said)
    why = found[-1] if found else b""
    if why == b"NODE FAILURE":
        return Fate("node_fail", again=True)
    if why == b"JOB REQUEUE" or not _AGAIN.isdisjoint(states):
        return Fate("requeued", again=True)
    for state in states:
        if state in _ENDED:
            return Fate(_ENDED[state])
    if why == b"PREEMPTION":  # whether it is requeued then depends on the site
        return Fate("preempted", again=True)
    if why == b"TIME LIMIT":
        return Fate("timeout")
    return Fate("cancelled") if "COMPLETING" in states else Fate()


def ask_states(job: JobContext) -> list[str]:
    """Return the states that Slurm says the job is in; none when it does not answer."""
    if not job.key:
        return []
    from slurmkit.slurm.cli import CliClient  # noqa: PLC0415 (only jobs that go wrong ask)

    try:
        info = CliClient(timeout_s=_ASK_TIMEOUT_S).job(job.key)
    except SlurmkitError:
        return []
    return [str(info.base_state), str(info.state)]


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
