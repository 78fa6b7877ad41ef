"""What the supervisor knows of its job from Slurm's environment."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmkit.hostlist import HostlistError, expand

#: Tells a successor's supervisor which run to go on with, where the script derives it from the job.
CONTINUE_VARIABLE = "SLURMKIT_CONTINUE"
#: Tells one how many elements the array had, of which it is one.
ARRAY_SIZE_VARIABLE = "SLURMKIT_ARRAY_SIZE"


@dataclass(frozen=True)
class JobContext:
    """One life of one job, or of one element of a job array.

    Attributes:
        job_id: this job's own id; ``local`` outside Slurm.
        key: how to name it to Slurm, such as ``12`` or ``12_3``; empty outside Slurm.
        array_task: the array's index of this job; None for a job that is no array.
        array_size: how many elements the array has; 0 for a job that is no array.
        restart_count: how often Slurm has requeued the job.
        nodes: the allocated nodes as a hostlist.
        host: this host's name in Slurm.
    """

    job_id: str
    key: str
    array_task: int | None
    array_size: int
    restart_count: int
    nodes: str
    host: str


def job_context(env: Mapping[str, str]) -> JobContext:
    """Read it from the environment of a batch script (sbatch(1), OUTPUT ENVIRONMENT VARIABLES)."""
    host = env.get("SLURMD_NODENAME") or os.uname().nodename
    task = _number(env.get("SLURM_ARRAY_TASK_ID"))
    job_id = env.get("SLURM_JOB_ID", "")
    array_job_id = env.get("SLURM_ARRAY_JOB_ID", "")
    return JobContext(
        job_id=job_id or "local",
        key=job_id if task is None else f"{array_job_id}_{task}",
        array_task=task,
        array_size=_array_size(env) if task is not None else 0,
        restart_count=_number(env.get("SLURM_RESTART_COUNT")) or 0,
        nodes=env.get("SLURM_JOB_NODELIST") or host,
        host=host,
    )


def _array_size(env: Mapping[str, str]) -> int:
    """Return how many elements the array has; a successor of one of them is an array of one."""
    given = _number(env.get(ARRAY_SIZE_VARIABLE))
    return given or _number(env.get("SLURM_ARRAY_TASK_COUNT")) or 0


def step_hosts(command: Sequence[str], job: JobContext) -> list[str]:
    """Return the hosts of the step that the command starts, in order.

    They are those it names by ``--nodelist`` or ``-w``, else those of the job.
    """
    for hostlist in (_nodelist(command), job.nodes):
        if hostlist and "/" not in hostlist:  # srun takes the name of a file, too
            try:
                return expand(hostlist)
            except HostlistError:  # logs are then named by the nodes' numbers; srun says the rest
                continue
    return []


def _nodelist(command: Sequence[str]) -> str:
    for position, word in enumerate(command):
        if word == "--":
            break
        if word in ("--nodelist", "-w") and position + 1 < len(command):
            return command[position + 1]
        if word.startswith("--nodelist="):
            return word.removeprefix("--nodelist=")
    return ""


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
