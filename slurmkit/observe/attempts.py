"""The attempts of one element, read out of its ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from slurmkit.hostlist import compress
from slurmkit.rundir.ledger import Record

#: What a run may be, by its ledger alone.
_GOES_ON = frozenset({"relaunch", "spare", "shrink"})
_HANDED_OVER = frozenset({"successor", "requeue"})
# Slurm itself starts a job again after these.
_SLURM_AGAIN = frozenset({"requeued", "preempted", "node_fail"})
# Kinds of ends that somebody asked for.
_ASKED = frozenset({"stopped", "preempted", "timeout", "cancelled", "requeued"})
# What says first that an attempt is in trouble.
_TROUBLE = frozenset({"node_lost", "node_unfit", "hang", "stuck", "task_exited"})


@dataclass(frozen=True)
class Commit:
    """A checkpoint that counts.

    Attributes:
        time: when it began to count, Unix seconds.
        save_s: from the begin of the save until then.
        stall_s: how long the training waited for it.
    """

    step: int
    time: float
    size_bytes: int
    save_s: float
    stall_s: float

    @property
    def begun(self) -> float:
        """When the save began."""
        return self.time - self.save_s


@dataclass(frozen=True)
class Attempt:
    """One launch; times are Unix seconds.

    Attributes:
        number: from 1 over the whole run.
        incarnation: which life of which job made it.
        end: when it ended; the last that was heard of it, when nobody wrote that down.
        state: how it ended: ``completed``, ``failed``...; empty when nobody wrote that down.
        first_step: when the program made its first step; None when it told of none.
        restored: the step that it went on from; None for the beginning.
        points: (time, steps made by then), both rising.
        failure: fields of the classification of why it ended; empty when it did not fail.
        trouble: when something went wrong first; None when nothing did.
    """

    number: int
    incarnation: str
    job_id: str
    nodes: str
    start: float
    end: float
    state: str = ""
    exit_code: int | None = None
    first_step: float | None = None
    restored: int | None = None
    points: tuple[tuple[float, int], ...] = ()
    commits: tuple[Commit, ...] = ()
    failure: dict[str, Any] = field(default_factory=dict)
    trouble: float | None = None

    @property
    def step(self) -> int | None:
        """The last step that it told of."""
        return self.points[-1][1] if self.points else None

    @property
    def failed(self) -> bool:
        """Whether it ended badly, and not because somebody asked it to."""
        kind = self.failure.get("kind")
        if kind is not None:
            return kind not in _ASKED
        return self.state in ("failed", "node_fail")


@dataclass(frozen=True)
class History:
    """All that one element's ledger says, in order.

    Attributes:
        lives: (incarnation, first and last time that it wrote) in order.
        over: whether no more attempt is to come, by the ledger.
    """

    attempts: tuple[Attempt, ...]
    lives: tuple[tuple[str, float, float], ...]
    records: tuple[Record, ...]
    over: bool

    @property
    def state(self) -> str:
        """``waiting``, ``running``, or how the last attempt ended."""
        if not self.attempts:
            return "waiting"
        ended = self.attempts[-1].state
        if not self.over:
            handed = ended in _SLURM_AGAIN or _last_decision(self.records) in _HANDED_OVER
            return "waiting" if ended and handed else "running"
        if any(record.event == "run_completed" for record in self.records):
            return "completed"
        return ended


def read_history(records: Sequence[Record]) -> History:
    """Return what the records of one element's ledger say."""
    ordered = _with_rising_times(records)
    attempts = tuple(_attempt(ordered, start) for start in ordered if _starts_attempt(start))
    lives: dict[str, tuple[float, float]] = {}
    for record in ordered:
        first, _ = lives.get(record.incarnation, (record.time, record.time))
        lives[record.incarnation] = (first, record.time)
    return History(
        attempts,
        tuple((name, *times) for name, times in lives.items()),
        tuple(ordered),
        _is_over(ordered, attempts),
    )


def _with_rising_times(records: Sequence[Record]) -> list[Record]:
    """Return the records with times that never fall: batch hosts have clocks of their own."""
    now, found = 0.0, []
    for record in records:
        now = max(now, record.time)
        same = record.time == now
        fields = (record.event, record.attempt, record.incarnation, record.fields)
        found.append(record if same else Record(record.seq, now, *fields))
    return found


def _starts_attempt(record: Record) -> bool:
    return record.event == "attempt_started"


def _attempt(records: Sequence[Record], start: Record) -> Attempt:
    own = [
        record
        for record in records
        if record.attempt == start.attempt and record.incarnation == start.incarnation
    ]
    by_event = {record.event: record for record in reversed(own)}
    ended, first = by_event.get("attempt_ended"), by_event.get("first_step")
    commits = tuple(_commit(record) for record in own if record.event == "checkpoint_committed")
    troubles = [record.time for record in own if record.event in _TROUBLE]
    failure = by_event.get("failure")
    hosts = [str(host) for host in start.fields.get("step_nodes") or ()]
    heard = [record for record in own if record.event not in _AFTERWARDS]
    return Attempt(
        number=start.attempt,
        incarnation=start.incarnation,
        job_id=str(start.fields.get("job_id", "")),
        nodes=compress(hosts) if hosts else str(start.fields.get("nodes", "")),
        start=start.time,
        end=ended.time if ended else heard[-1].time,
        state=str(ended.fields.get("state", "")) if ended else "",
        exit_code=ended.fields.get("exit_code") if ended else None,
        first_step=first.time if first else None,
        restored=first.fields.get("restored") if first else None,
        points=_points(own, first, commits),
        commits=commits,
        failure=dict(failure.fields) if failure else _seen(own, ended),
        trouble=min(troubles, default=None),
    )


def _seen(own: Sequence[Record], ended: Record | None) -> dict[str, Any]:
    """Return why an attempt ended, of which nobody wrote a classification; empty for no failure."""
    if ended is not None and ended.fields.get("state") == "completed":
        return {}
    for record in own:
        if record.event in ("hang", "stuck"):
            return {"kind": "hang"}
        if record.event in ("node_lost", "node_unfit"):
            return {"kind": "node", "host": record.fields.get("host", "")}
    return {}


# Written in an attempt's name when it is over.
_AFTERWARDS = frozenset({"decision", "successor_submitted", "requeued", "run_completed"})


def _commit(record: Record) -> Commit:
    fields = record.fields
    return Commit(
        step=int(fields["step"]),
        time=record.time,
        size_bytes=int(fields.get("size_bytes") or 0),
        save_s=float(fields.get("save_s") or 0.0),
        stall_s=float(fields.get("stall_s") or 0.0),
    )


def _points(
    own: Sequence[Record], first: Record | None, commits: Sequence[Commit]
) -> tuple[tuple[float, int], ...]:
    """Return (time, step) points from the first step on, both rising."""
    if first is None:
        return ()
    told = [
        (record.time, int(record.fields["step"]))
        for record in own
        if record.event in ("first_step", "progress")
    ]
    # A checkpoint holds the state of the moment at which its save began.
    told += [(max(first.time, commit.begun), commit.step) for commit in commits]
    points: list[tuple[float, int]] = []
    for time, step in sorted(told):
        # When a step was told first counts: an attempt that hangs tells of its last one again.
        if not points or step > points[-1][1]:
            points.append((time, step))
    return tuple(points)


def _last_decision(records: Sequence[Record]) -> str:
    found = [record for record in records if record.event == "decision"]
    return str(found[-1].fields.get("action", "")) if found else ""


def _is_over(records: Sequence[Record], attempts: Sequence[Attempt]) -> bool:
    if any(record.event == "run_completed" for record in records):
        return True
    if not attempts or not attempts[-1].state:
        return False
    number = attempts[-1].number
    decision = _last_decision([record for record in records if record.attempt == number])
    if decision in _GOES_ON | _HANDED_OVER:
        return False
    return attempts[-1].state not in _SLURM_AGAIN or decision == "stop"
