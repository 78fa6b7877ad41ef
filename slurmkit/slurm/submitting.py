"""Submit exactly once, whatever happens to Slurm's answer; and many jobs at once.

sbatch can time out, be killed or lose its connection after the controller took the job. The token
in the job's comment then says whether it did. A request may also still lie unread in the socket of
a controller that hangs, so before anything is sent again the controller must answer and, after a
pause, answer again; and after a second attempt a first one that came through late wins.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from slurmkit.errors import SlurmkitError, SlurmUnreachableError
from slurmkit.slurm.client import SubmitOutcome, SubmitRequest, SubmitResult
from slurmkit.slurm.states import JobInfo

#: Threads that wait for sbatch or the controller; the work itself is done by those.
_MAX_THREADS = 8


class AnswerLostError(SlurmUnreachableError):
    """Slurm may or may not have taken the job: its answer did not arrive."""


@dataclass(frozen=True)
class Door:
    """What a backend can do, for submit_once to decide with.

    Attributes:
        send: hand one job to Slurm; raises AnswerLostError when it is not known what came of it.
        find: all jobs with a token, oldest first; raises SlurmUnreachableError.
        withdraw: cancel one job.
        recover_s: how long to wait for a controller that stopped answering.
        settle_s: how long a controller that answers again may take to read what it was sent before.
        attempts: how often one request is sent.
    """

    send: Callable[[SubmitRequest], SubmitResult]
    find: Callable[[str], list[JobInfo]]
    withdraw: Callable[[int], None]
    recover_s: float = 60.0
    settle_s: float = 2.0
    attempts: int = 3


def submit_once(door: Door, request: SubmitRequest, backend: str) -> SubmitResult:
    """Submit one job; never two, also when answers are lost.

    Raises:
        SlurmUnreachableError: the controller does not answer; the message says whether the job may
            have been taken. The same request with ``again=True`` is safe then.
        SlurmkitError: Slurm refuses the job.
    """
    if request.again and (jobs := door.find(request.token)):
        return _recovered(jobs[0], request, backend)
    lost: AnswerLostError | None = None
    for attempt in range(door.attempts):
        try:
            result = door.send(request)
        except AnswerLostError as error:
            lost = error
        else:
            return result if attempt == 0 else _without_twin(door, request, result)
        if jobs := _find_patiently(door, request.token, lost):
            return _recovered(jobs[0], request, backend)
    assert lost is not None
    raise SlurmUnreachableError(
        f"{lost.message}; the controller does not have the job", hint=lost.hint
    )


def _find_patiently(door: Door, token: str, lost: AnswerLostError) -> list[JobInfo]:
    """Return the jobs with this token once the controller answers and has had time to settle."""
    deadline = time.monotonic() + door.recover_s
    while True:
        try:
            if jobs := door.find(token):
                return jobs
            time.sleep(door.settle_s)
            return door.find(token)
        except SlurmUnreachableError:
            if time.monotonic() > deadline:
                raise SlurmUnreachableError(
                    f"{lost.message}; whether it took the job is not known",
                    hint="submit the same run again later: its token makes sure that it runs once",
                ) from lost
            time.sleep(min(1.0, door.settle_s))


def _without_twin(door: Door, request: SubmitRequest, result: SubmitResult) -> SubmitResult:
    """Return the one job to keep after a second attempt, and cancel the other."""
    jobs = door.find(request.token)
    if not jobs or jobs[0].submission_id == result.job_id:
        return result
    door.withdraw(result.job_id)
    return _recovered(jobs[0], request, result.backend)


def _recovered(job: JobInfo, request: SubmitRequest, backend: str) -> SubmitResult:
    return SubmitResult(job.submission_id, "", request.token, backend, recovered=True)


def submit_all(
    submit: Callable[[SubmitRequest], SubmitResult],
    requests: Sequence[SubmitRequest],
    max_threads: int = _MAX_THREADS,
) -> list[SubmitOutcome]:
    """Submit several jobs at once; what goes wrong with one stands in its place in the list."""
    if not requests:
        return []

    def outcome(request: SubmitRequest) -> SubmitOutcome:
        try:
            return submit(request)
        except SlurmkitError as error:
            return error

    with ThreadPoolExecutor(min(max_threads, len(requests))) as pool:
        return list(pool.map(outcome, requests))
