"""How an attempt ended, in the words of the policy."""

import signal

from slurmkit.errors import EXIT_STOPPED
from slurmkit.launch.outcome import TaskExit, root_cause
from slurmkit.slurm.control import RunningJob
from slurmkit.supervise.attempt import Attempt
from slurmkit.supervise.ending import Fate
from slurmkit.supervise.policy_values import Ended, Kind

_OF_FATE: dict[str, Kind] = {
    "node_fail": "requeued",
    "requeued": "requeued",
    "timeout": "timeout",
    "cancelled": "cancelled",
    "preempted": "preempted",
}


def verdict(attempt: Attempt, fate: Fate, job: RunningJob | None, warned_by: str) -> Ended:
    """Return how an attempt ended that the supervisor itself has not cancelled.

    Args:
        attempt: the attempt, its output taken.
        fate: what Slurm is doing with the job.
        job: what Slurm says of it, where it was asked.
        warned_by: the warning signal that was passed on; empty for none.
    """
    code = attempt.code
    if code == 0:
        return Ended("done")
    if fate.state in _OF_FATE:
        kind = _OF_FATE[fate.state]
        if kind == "preempted" and fate.again:
            kind = "requeued"
        return Ended(kind, f"Slurm has ended the job: {fate.state}", code)
    exits = attempt.recorder.exits
    if told(exits, code, warned_by):
        if job is not None and job.preempted:
            return Ended("preempted", "Slurm preempts the job", code)
        return Ended("stopped", "the ranks have saved and stopped", code)
    return _failure(attempt, code)


def told(exits: list[TaskExit], code: int, warned_by: str) -> bool:
    """Whether the ranks ended because they were told to.

    Args:
        exits: the tasks that failed, in order.
        code: the launcher's exit code.
        warned_by: the warning signal that was passed on; empty for none.
    """
    if code == EXIT_STOPPED:
        return True
    cause = root_cause(exits)
    if cause is None:
        return False
    if cause.exit_code == EXIT_STOPPED:
        return True
    # A program that does not know the warning signal dies of it.
    number = getattr(signal, warned_by, None) if warned_by else None
    return bool(number) and (cause.signal == warned_by or cause.exit_code == 128 + int(number or 0))


def _failure(attempt: Attempt, code: int) -> Ended:
    cause = root_cause(attempt.recorder.exits)
    if cause is None:
        reason = attempt.recorder.launcher_reason() or f"the launcher ended with code {code}"
        return Ended("application", reason, code, key=reason)
    if "Out Of Memory" in cause.detail:
        return Ended("memory", str(cause), code, key=f"memory {cause.host}", host=cause.host)
    return Ended("application", str(cause), code, key=cause.reason or str(cause), host=cause.host)
