"""How an attempt ended, in the words of the policy."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmkit.errors import EXIT_STOPPED
from slurmkit.launch.outcome import TaskExit, root_cause
from slurmkit.supervise.attempt import Attempt
from slurmkit.supervise.ending import Fate
from slurmkit.supervise.policy_values import Ended, Kind

if TYPE_CHECKING:  # needed when something went wrong
    from slurmkit.health.verdict import Verdict
    from slurmkit.slurm.control import RunningJob

_OF_FATE: dict[str, Kind] = {
    "node_fail": "requeued",
    "requeued": "requeued",
    "timeout": "timeout",
    "cancelled": "cancelled",
    "preempted": "preempted",
}


@dataclass(frozen=True)
class Seen:
    """What else is known of an attempt that has ended.

    Attributes:
        fate: what Slurm is doing with the job.
        job: what Slurm says of it, where it was asked.
        warned_by: the warning signal that was passed on; empty for none.
        step: the last step that all ranks had done; None when not known.
        verdicts: what checks of nodes have found, by host.
        failed_at: the step of each rank that told of its own exception.
    """

    fate: Fate = field(default_factory=Fate)
    job: "RunningJob | None" = None
    warned_by: str = ""
    step: int | None = None
    verdicts: "Mapping[str, Sequence[Verdict]]" = field(default_factory=dict)
    failed_at: "Mapping[int, int]" = field(default_factory=dict)


def verdict(attempt: Attempt, seen: Seen) -> Ended:
    """Return how an attempt ended that the supervisor itself has not cancelled.

    Args:
        attempt: the attempt, its output taken.
        seen: what else is known.
    """
    fate, job = seen.fate, seen.job
    code = attempt.code
    if code == 0:
        return Ended("done")
    if fate.state in _OF_FATE:
        kind = _OF_FATE[fate.state]
        if kind == "preempted" and fate.again:
            kind = "requeued"
        return Ended(kind, f"Slurm has ended the job: {fate.state}", code)
    exits = attempt.recorder.exits
    if told(exits, code, seen.warned_by):
        if job is not None and job.preempted:
            return Ended("preempted", "Slurm preempts the job", code)
        return Ended("stopped", "the ranks have saved and stopped", code)
    if gave_up := attempt.recorder.gave_up:  # how ranks fail that cannot meet says nothing of them
        return Ended("transient", gave_up.why, code)
    return _failure(attempt, code, seen)


def told(exits: Sequence[TaskExit], code: int, warned_by: str) -> bool:
    """Whether the ranks ended because they were told to.

    Args:
        exits: the tasks that failed, in order.
        code: the launcher's exit code.
        warned_by: the warning signal that was passed on; empty for none.
    """
    causes = [exit_ for exit_ in exits if not exit_.consequence]
    if not causes:
        return code == EXIT_STOPPED
    # A program that does not know the warning signal dies of it.
    as_told: set[tuple[int | None, str]] = {(EXIT_STOPPED, "")}
    if warned_by:
        as_told |= {(None, warned_by), (128 + int(signal.Signals[warned_by]), "")}
    return all((exit_.exit_code, exit_.signal) in as_told for exit_ in causes)


def _failure(attempt: Attempt, code: int, seen: Seen) -> Ended:
    from slurmkit.supervise.failures import Evidence, classify  # noqa: PLC0415 (nothing may fail)

    # Those that saved and stopped did so because another one had failed.
    exits = [exit_ for exit_ in attempt.recorder.exits if exit_.exit_code != EXIT_STOPPED]
    found = classify(
        Evidence(
            exits=exits,
            tails=attempt.tails(),
            launcher=attempt.recorder.launcher_tail(),
            exit_code=code,
            verdicts=seen.verdicts,
            step=seen.step,
            failed_at=seen.failed_at,
        )
    )
    cause = root_cause(exits)
    if cause is None and found.kind == "application" and unanswered(found.reason):
        return Ended("transient", found.reason, code, key=found.key)
    host = found.host or (cause.host if cause else "")
    return Ended(found.kind, found.reason, code, key=found.key, host=host)


def unanswered(said: str) -> bool:
    """Whether the launcher could not start anything because no controller answered it."""
    from slurmkit.slurm.runner import UNREACHABLE_WORDS  # noqa: PLC0415 (nothing may fail)

    return any(words in said for words in UNREACHABLE_WORDS)
