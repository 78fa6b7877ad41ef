"""Job records of squeue and sacct as JobInfo, and the choice of those that were asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from slurmkit.slurm import normalise
from slurmkit.slurm.states import DONE_STATES, JobInfo, JobKey, JobState

#: Above this an array's pending tasks stay one record: MaxArraySize may be four million.
MAX_LISTED_TASKS = 100_000

Record = Mapping[str, Any]


def from_squeue(record: Record) -> JobInfo:
    """Return what one job of ``squeue --json`` says."""
    array_id = normalise.number(record.get("array_job_id")) or None
    het_id = normalise.number(record.get("het_job_id")) or None
    state, base = normalise.job_state(record.get("job_state"))
    code, signal = normalise.exit_status(record.get("exit_code"))
    limit_min = normalise.number(record.get("time_limit"))
    ended = base in DONE_STATES
    return JobInfo(
        job_id=int(record["job_id"]),
        array_job_id=array_id,
        array_task=normalise.number(record.get("array_task_id")) if array_id else None,
        array_tasks=normalise.text(record.get("array_task_string")) if array_id else "",
        het_job_id=het_id,
        het_offset=normalise.number(record.get("het_job_offset")) if het_id else None,
        name=normalise.text(record.get("name")),
        user=normalise.text(record.get("user_name") or record.get("user_id")),
        partition=normalise.text(record.get("partition")),
        state=state,
        base_state=base,
        reason=normalise.text(record.get("state_reason")),
        exit_code=code if ended else None,
        signal=signal if ended else None,
        nodes=normalise.text(record.get("nodes")),
        num_nodes=normalise.number(record.get("node_count")) or 0,
        submit_time=normalise.timestamp(record.get("submit_time")),
        start_time=normalise.timestamp(record.get("start_time")),
        end_time=normalise.timestamp(record.get("end_time")),
        time_limit_s=None if limit_min is None else limit_min * 60,
        restart_count=normalise.number(record.get("restart_cnt")) or 0,
        comment=normalise.text(record.get("comment")),
        source="slurmctld",
    )


def from_sacct(record: Record) -> JobInfo:
    """Return what one job of ``sacct --json`` says, which is asked when slurmctld has forgotten it.

    A record that is not at an end then belongs to a job that nobody knows the end of: its state
    is UNKNOWN and ``base_state`` the last one that was recorded.
    """
    array: Record = record.get("array") or {}
    het: Record = record.get("het") or {}
    times: Record = record.get("time") or {}
    comments: Record = record.get("comment") or {}
    current: Record = record.get("state") or {}
    array_id = normalise.number(array.get("job_id")) or None
    het_id = normalise.number(het.get("job_id")) or None
    _, base = normalise.job_state(current.get("current"))
    code, signal = normalise.exit_status(record.get("exit_code"))
    if base is JobState.FAILED and code == 0 and signal is None:
        code = None  # 22.05's JSON has 0 for every exit code
    limit_min = normalise.number(times.get("limit"))
    ended = base in DONE_STATES
    nodes = normalise.text(record.get("nodes"))
    return JobInfo(
        job_id=int(record["job_id"]),
        array_job_id=array_id,
        array_task=normalise.number(array.get("task_id")) if array_id else None,
        array_tasks=normalise.text(array.get("task")) if array_id else "",
        het_job_id=het_id,
        het_offset=normalise.number(het.get("job_offset")) if het_id else None,
        name=normalise.text(record.get("name")),
        user=normalise.text(record.get("user")),
        partition=normalise.text(record.get("partition")),
        state=base if ended else JobState.UNKNOWN,
        base_state=base,
        reason=normalise.text(current.get("reason")),
        exit_code=code if ended else None,
        signal=signal if ended else None,
        nodes="" if nodes == "None assigned" else nodes,
        num_nodes=normalise.number(record.get("allocation_nodes")) or 0,
        submit_time=normalise.timestamp(times.get("submission")),
        start_time=normalise.timestamp(times.get("start")),
        end_time=normalise.timestamp(times.get("end")),
        time_limit_s=None if limit_min is None else limit_min * 60,
        restart_count=normalise.number(record.get("restart_cnt")) or 0,
        comment=normalise.text(comments.get("job")),
        source="slurmdbd",
    )


def listed(jobs: Iterable[JobInfo]) -> list[JobInfo]:
    """Return the jobs with each pending array record as one record per task."""
    result: list[JobInfo] = []
    for job in jobs:
        tasks = normalise.array_tasks(job.array_tasks) if job.array_tasks else None
        if job.array_task is None and tasks and len(tasks) <= MAX_LISTED_TASKS:
            result += [replace(job, array_task=task, array_tasks="") for task in tasks]
        else:
            result.append(job)
    return result


def select(jobs: Iterable[JobInfo], wanted: Iterable[JobKey]) -> dict[JobKey, JobInfo]:
    """Return the jobs that were asked for; what is not among them is left out.

    A whole array or heterogeneous job yields its members under their own keys. Slurm's own id of
    one array task (its SLURM_JOB_ID) yields that task under the id that was asked for.
    """
    by_key: dict[JobKey, JobInfo] = {}
    by_id: dict[int, JobInfo] = {}
    members: dict[int, list[JobInfo]] = {}
    for job in jobs:
        by_key[job.key] = job
        by_id[job.job_id] = job
        members.setdefault(job.submission_id, []).append(job)
    for group in members.values():
        group.sort(key=lambda job: (job.array_task or 0, job.job_id))
    found: dict[JobKey, JobInfo] = {}
    for key in wanted:
        rest = by_key.get(JobKey(key.job_id))
        if key.task is None and key.job_id in members:
            found.update({job.key: job for job in members[key.job_id]})
        elif key in by_key:
            found[key] = by_key[key]
        elif key.task is None and key.job_id in by_id:
            found[key] = by_id[key.job_id]
        elif rest is not None and rest.array_job_id is not None:
            # The tasks of an array that was cancelled while pending have one record without a list.
            found[key] = replace(rest, array_task=key.task, array_tasks="")
    return found


def unknown(key: JobKey) -> JobInfo:
    """Return the record of a job that Slurm has no record of."""
    array_id = None if key.task is None else key.job_id
    return JobInfo(job_id=key.job_id, array_job_id=array_id, array_task=key.task)
