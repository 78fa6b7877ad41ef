"""The one door to Slurm: submit, watch, cancel and ask for limits, by whichever backend is usable.

Nobody else in slurmkit starts a Slurm program. Importing this package starts none either.
"""

from slurmkit.slurm.client import (
    Client,
    SubmitOutcome,
    SubmitRequest,
    SubmitResult,
    connect,
)
from slurmkit.slurm.environ import scrubbed_environment
from slurmkit.slurm.states import JobId, JobInfo, JobKey, JobState, job_key

__all__ = [
    "Client",
    "JobId",
    "JobInfo",
    "JobKey",
    "JobState",
    "SubmitOutcome",
    "SubmitRequest",
    "SubmitResult",
    "connect",
    "job_key",
    "scrubbed_environment",
]
