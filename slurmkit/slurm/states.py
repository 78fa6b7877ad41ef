"""What a job is and what state it is in, in one vocabulary for every Slurm release and backend."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from slurmkit.errors import UsageError

_JOB_ID = re.compile(r"(\d{1,10})(?:_(\d{1,10}))?")


class JobState(str, Enum):
    """A job's state in the words of squeue(1) and sacct(1), JOB STATE CODES.

    ``UNKNOWN`` is slurmkit's own: Slurm has no record of the job (any more).
    """

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    STOPPED = "STOPPED"
    RESIZING = "RESIZING"
    SIGNALING = "SIGNALING"
    STAGE_OUT = "STAGE_OUT"
    COMPLETING = "COMPLETING"
    REQUEUED = "REQUEUED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    PREEMPTED = "PREEMPTED"
    DEADLINE = "DEADLINE"
    BOOT_FAIL = "BOOT_FAIL"
    REVOKED = "REVOKED"
    UNKNOWN = "UNKNOWN"

    def __str__(self) -> str:
        return self.value


#: States that a job never leaves unless somebody requeues it.
DONE_STATES = frozenset(
    {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.NODE_FAIL,
        JobState.OUT_OF_MEMORY,
        JobState.PREEMPTED,
        JobState.DEADLINE,
        JobState.BOOT_FAIL,
        JobState.REVOKED,
    }
)


class JobKey(NamedTuple):
    """What identifies one schedulable job: the (array) job id and the array task, or None."""

    job_id: int
    task: int | None = None

    def __str__(self) -> str:
        return str(self.job_id) if self.task is None else f"{self.job_id}_{self.task}"


#: How callers may name a job: ``12``, ``"12"``, ``"12_3"`` or a JobKey.
JobId = int | str | JobKey


def job_key(job: JobId) -> JobKey:
    """Return the key that a job id stands for.

    Raises:
        UsageError: the text is not a job id.
    """
    if isinstance(job, JobKey):
        return job
    match = _JOB_ID.fullmatch(str(job))
    if not match:
        raise UsageError(f"{job!r} is not a job id", hint="write 12, or 12_3 for one array task")
    return JobKey(int(match[1]), int(match[2]) if match[2] else None)


@dataclass(frozen=True)
class JobInfo:
    """One job, or one task of a job array, as Slurm knows it now.

    Attributes:
        job_id: Slurm's own id of this job; each started array task and het component has its own.
        array_job_id: the array's id; None for a job that is no array.
        array_task: the index in the array; None for a job that is no array.
        array_tasks: the indices, such as ``1-9:2%4``, of a pending array that is too large to be
            listed task by task; empty otherwise.
        het_job_id: the leader's id for a component of a heterogeneous job; None otherwise.
        het_offset: 0 for the leader, 1 … for the others; None for ordinary jobs.
        state: the state to show.
        base_state: the state below flags: FAILED while ``state`` is COMPLETING, for example.
        reason: why it is pending or failed, in Slurm's words; empty for none.
        exit_code: what the batch script returned; None until it ended.
        signal: the signal that ended it; None for none.
        nodes: the allocated nodes as a hostlist; empty while pending.
        submit_time: Unix seconds; None when Slurm does not say.
        start_time: Unix seconds; for a pending job the expected start; None when not known.
        end_time: Unix seconds; for a running job when its time limit ends it; None when not known.
        time_limit_s: seconds; None for no limit or not known.
        restart_count: how often it was requeued.
        source: which record this was read from: ``slurmctld``, ``slurmdbd`` or ``none``.
    """

    job_id: int
    array_job_id: int | None = None
    array_task: int | None = None
    array_tasks: str = ""
    het_job_id: int | None = None
    het_offset: int | None = None
    name: str = ""
    user: str = ""
    partition: str = ""
    state: JobState = JobState.UNKNOWN
    base_state: JobState = JobState.UNKNOWN
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    num_nodes: int = 0
    submit_time: float | None = None
    start_time: float | None = None
    end_time: float | None = None
    time_limit_s: int | None = None
    restart_count: int = 0
    comment: str = ""
    source: str = "none"

    @property
    def key(self) -> JobKey:
        """What other code knows this job by: the array's id and task, or the job's own id."""
        if self.array_job_id is not None:
            return JobKey(self.array_job_id, self.array_task)
        return JobKey(self.job_id)

    @property
    def submission_id(self) -> int:
        """The id that sbatch printed: the array's, the het job's leader's, or the job's own."""
        return self.array_job_id or self.het_job_id or self.job_id

    @property
    def is_done(self) -> bool:
        """Whether it ended for good; of a COMPLETING or UNKNOWN job that is not known."""
        return self.state in DONE_STATES

    @property
    def is_unknown(self) -> bool:
        """Whether Slurm has no record of it: never submitted, or forgotten after MinJobAge."""
        return self.state is JobState.UNKNOWN

    @property
    def succeeded(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.state is JobState.COMPLETED
