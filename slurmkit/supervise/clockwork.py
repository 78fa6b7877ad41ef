"""What Slurm says about a job's time: asked by threads, because Slurm may take its time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmkit.errors import SlurmError
from slurmkit.supervise.context import JobContext

if TYPE_CHECKING:
    from slurmkit.slurm.control import RunningJob

_DEFAULT_GRACE_S = 30.0  # slurm.conf(5), KillWait
# The supervisor's own part of the grace: what must be durable is written then.
_OWN_S = 3.0
_LEAST_S = 2.0


@dataclass(frozen=True)
class Times:
    """What was asked once, at the start.

    Attributes:
        end_time: when the time limit ends the job, Unix seconds; None when not known.
        grace_s: seconds from TERM to KILL; None when not known.
    """

    end_time: float | None = None
    grace_s: float | None = None

    def deadline(self, now: float) -> float:
        """Return until when ranks may save after a bare TERM, Unix seconds."""
        return now + (self.grace_s or _DEFAULT_GRACE_S)

    @property
    def conclude_after_s(self) -> float:
        """How long after TERM the ledger has to be complete, seconds."""
        return max(_LEAST_S, (self.grace_s or 0.0) - _OWN_S)


def ask_times(job: JobContext) -> Times:
    """Return the job's times; what Slurm does not say is None."""
    if not job.key:
        return Times()
    from slurmkit.slurm.control import JobControl  # noqa: PLC0415 (some jobs never ask)

    control = JobControl()
    try:
        running = control.running_job(job.key)
        return Times(running.end_time, control.grace_s(running.partition))
    except SlurmError:
        return Times()


def ask_job(job: JobContext) -> "RunningJob | None":
    """Return what Slurm says of the job now; None when it does not answer."""
    if not job.key:
        return None
    from slurmkit.slurm.control import JobControl  # noqa: PLC0415 (some jobs never ask)

    try:
        return JobControl(timeout_s=5.0).running_job(job.key)
    except SlurmError:
        return None


def is_requeued_when_preempted(job: JobContext) -> bool:
    """Whether Slurm is taking the nodes of a job for another one, and would start it again."""
    running = ask_job(job)
    if running is None or not running.preempted:
        return False
    from slurmkit.slurm.control import JobControl  # noqa: PLC0415 (some jobs never ask)

    try:
        return JobControl(timeout_s=5.0).preemption_requeues(running.partition)
    except SlurmError:
        return False
