"""The records of a ledger as sentences."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from slurmkit.errors import EXIT_STOPPED
from slurmkit.hostlist import compress
from slurmkit.observe import words
from slurmkit.observe.attempts import Attempt, History
from slurmkit.observe.summary import KINDS, STATES
from slurmkit.rundir.ledger import Record


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        time: Unix seconds.
        event: the kind of the ledger's record.
        attempt: in which attempt; 0 before the first.
        text: what happened, in a sentence or two.
    """

    time: float
    event: str
    attempt: int
    text: str


class Teller:
    """Tells records one by one, and keeps what a later one refers to.

    Args:
        history: the records, and the attempts in them.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._attempts = {a.number: a for a in history.attempts}
        self._told_exit: set[int] = set()
        self._asked: set[int] = set()
        self._told: dict[int, set[str]] = {}
        self._causes: list[str] = []
        self._saves: list[Record] = []
        self._broken: float | None = None

    def events(self) -> Iterator[Event]:
        """Yield what is worth telling; checkpoints that follow each other are told as one."""
        for record in self._history.records:
            if record.event == "checkpoint_committed":
                self._saves.append(record)
                continue
            if record.event == "progress":
                continue
            tell = _TELLERS.get(record.event)
            text = tell(self, record) if tell is not None else _FIXED.get(record.event, "")
            if not text:
                continue
            yield from self._told_saves()
            yield Event(record.time, record.event, record.attempt, text)
        yield from self._told_saves()

    def _told_saves(self) -> Iterator[Event]:
        saves, self._saves = self._saves, []
        if not saves:
            return
        last = saves[-1]
        steps = [int(save.fields["step"]) for save in saves]
        size = words.size(float(last.fields.get("size_bytes") or 0))
        took = words.span(float(last.fields.get("save_s") or 0.0))
        if len(saves) == 1:
            text = f"The checkpoint of step {steps[0]} was committed: {size} in {took}."
        else:
            text = (
                f"{len(saves)} checkpoints were committed, from step {steps[0]} to step"
                f" {steps[-1]}; the last has {size} and took {took}."
            )
        yield Event(last.time, last.event, last.attempt, text)

    # Each returns a sentence or two; nothing for what is not worth telling.

    def _life(self, record: Record) -> str:
        fields = record.fields
        job, nodes = fields.get("job_id", ""), fields.get("nodes", "")
        again = int(fields.get("restart_count") or 0)
        excluded = [str(host) for host in fields.get("excluded") or ()]
        text = f"Job {job} began on {nodes}"
        text += f", started again by Slurm for the {_ordinal(again)} time" if again else ""
        text += f"; {compress(excluded)} had been given up before" if excluded else ""
        return f"{text}."

    def _preflight(self, record: Record) -> str:
        fields = record.fields
        bad = [
            f"{verdict.get('check', '')} ({verdict.get('detail', '')})".replace(" ()", "")
            for verdict in fields.get("verdicts") or ()
            if verdict.get("verdict") == "fail"
        ]
        if not bad:
            return ""
        return f"Node {fields.get('host', '')} did not pass the check before the start:" + (
            f" {words.listing(bad)}."
        )

    def _started(self, record: Record) -> str:
        fields = record.fields
        attempt = self._attempts.get(record.attempt)
        nodes = attempt.nodes if attempt is not None else str(fields.get("nodes", ""))
        return f"Attempt {record.attempt} started on {nodes}."

    def _first_step(self, record: Record) -> str:
        fields = record.fields
        restored, broken = fields.get("restored"), self._broken
        self._broken = None
        text = (
            "It made its first step, from the beginning"
            if restored is None
            else f"It went on from the checkpoint of step {restored}"
        )
        before = self._before(record.attempt)
        if before is not None and before.step is not None:
            again = before.step - (restored or 0)
            if again > 0:
                text += f"; {words.count(again, 'step')} had to be made again"
        if broken is not None:
            text += f", {words.span(record.time - broken)} after the failure"
        return f"{text}."

    def _before(self, number: int) -> Attempt | None:
        earlier = [a for a in self._history.attempts if a.number < number and a.step is not None]
        return earlier[-1] if earlier else None

    def _save_failed(self, record: Record) -> str:
        fields = record.fields
        return words.sentence(
            f"The save of step {fields.get('step')} failed, and the training went on without it:"
            f" {_first_line(fields.get('error'))}"
        )

    def _quarantined(self, record: Record) -> str:
        fields = record.fields
        return words.sentence(
            f"The checkpoint of step {fields.get('step')} was damaged and was put aside:"
            f" {_first_line(fields.get('why'))}"
        )

    def _warned(self, record: Record) -> str:
        fields = record.fields
        self._asked.add(record.attempt)
        deadline = fields.get("deadline")
        left = f", with {words.span(deadline - record.time)} left" if deadline else ""
        why = str(fields.get("why") or "the end of its time")
        return words.sentence(f"The program was told to save and stop because of {why}{left}")

    def _node_unfit(self, record: Record) -> str:
        host = str(record.fields.get("host", ""))
        self._trouble(record, "node", host)
        why = _first_line(record.fields.get("why"))
        return words.sentence(f"The site's health program wants no job on {host}: {why}")

    def _node_lost(self, record: Record) -> str:
        fields = record.fields
        self._trouble(record, "node", str(fields.get("host", "")))
        silent, why = fields.get("silent_s"), _first_line(fields.get("why"))
        since = f" for {words.span(float(silent))}" if silent else ""
        text = f"Node {fields.get('host', '')} gave no sign of life{since} and was given up"
        return words.sentence(f"{text}: {why}" if why else text)

    def _stuck(self, record: Record) -> str:
        self._trouble(record, "hang")
        why = _first_line(record.fields.get("why"))
        return words.sentence(f"The program could not go on and did not end: {why}")

    def _hang(self, record: Record) -> str:
        fields = record.fields
        self._trouble(record, "hang")
        ranks = [int(rank) for rank in fields.get("ranks") or ()]
        who = f"rank{'s' if len(ranks) > 1 else ''} {_numbers(ranks)}" if ranks else "the program"
        text = (
            f"{who} made no progress for {words.span(float(fields.get('silent_s') or 0))}, where"
            f" {words.span(float(fields.get('limit_s') or 0))} are allowed: a hang"
        )
        stacks = [str(path) for path in fields.get("stacks") or ()]
        return words.sentence(text) + (
            f" The Python stacks of all ranks are in {stacks[0]}." if stacks else ""
        )

    def _task_exited(self, record: Record) -> str:
        fields = record.fields
        if record.attempt not in self._asked:
            self._trouble(record)
        elif fields.get("exit_code") == EXIT_STOPPED:
            return ""  # it did as it was told
        if record.attempt in self._told_exit or fields.get("consequence"):
            return ""
        self._told_exit.add(record.attempt)
        rank, host = fields.get("rank"), fields.get("host")
        who = "A task" if rank is None else f"Rank {rank}"
        where = f" on {host}" if host else ""
        how = (
            f"was ended by {fields['signal']}"
            if fields.get("signal")
            else f"ended with exit code {fields.get('exit_code')}"
        )
        reason = _first_line(fields.get("reason"))
        if reason:
            self._causes.append(f"{who}{where}: {reason}")
        return words.sentence(f"{who}{where} {how}" + (f": {reason}" if reason else ""))

    def _ended(self, record: Record) -> str:
        fields = record.fields
        attempt = self._attempts.get(record.attempt)
        state = str(fields.get("state", ""))
        if state == "completed":
            at = f" at step {attempt.step}" if attempt and attempt.step is not None else ""
            return f"The program ended well{at}."
        if attempt is not None and attempt.failed:
            self._trouble(record)
        if attempt is not None and attempt.failure:
            return ""  # the classification, which follows, says more
        reason = _first_line(fields.get("reason"))
        text = f"Attempt {record.attempt} ended: {state}"
        return words.sentence(f"{text}, {reason}" if reason else text)

    def _failure(self, record: Record) -> str:
        fields = record.fields
        kind = str(fields.get("kind", ""))
        full = _first_line(fields.get("reason"))
        reason = self._untold(full)
        if full:
            self._causes.append(full)
        if kind in self._told.get(record.attempt, ()):
            return ""  # that a node was lost, or that the ranks hang, has been said
        name = KINDS.get(kind)
        what = (
            f"Attempt {record.attempt} ended with a {name}"
            if name
            else (f"Attempt {record.attempt} {STATES.get(kind, f'ended: {kind}')}")
        )
        return words.sentence(f"{what}: {reason}" if reason else what)

    def _excluded(self, record: Record) -> str:
        fields = record.fields
        reason, host = _first_line(fields.get("reason")), str(fields.get("host", ""))
        if host in self._told.get(record.attempt, ()):
            reason = ""  # that it was lost has been said
        text = f"Node {host} is not used any more"
        return words.sentence(f"{text}: {reason}" if reason else text)

    def _decided(self, record: Record) -> str:
        fields = record.fields
        action = str(fields.get("action", ""))
        what = _DECISIONS.get(action, action)
        if not what:
            return ""
        reason = self._untold(_first_line(fields.get("reason")))
        nodes = [str(host) for host in fields.get("nodes") or ()]
        on = f" on {compress(nodes)}" if nodes and action in ("relaunch", "spare", "shrink") else ""
        text = words.sentence(f"{what}{on}: {reason}" if reason else f"{what}{on}")
        left = fields.get("restarts_left")
        if left is not None and action not in ("stop", "done"):
            restarts = words.count(int(left), "more restart")
            are = "is" if left == 1 else "are"
            text += f" {restarts} without a new checkpoint {are} allowed."
        return text

    def _successor(self, record: Record) -> str:
        fields = record.fields
        without = [str(host) for host in fields.get("exclude") or ()]
        text = f"Job {fields.get('job_id', '')} was submitted to go on"
        return f"{text}, without {compress(without)}." if without else f"{text}."

    def _untold(self, reason: str) -> str:
        """Return what a reason says beyond the causes that were told."""
        for cause in self._causes:
            if reason.lower().startswith(cause.lower()):
                return reason[len(cause) :].lstrip(": ")
        return reason

    def _trouble(self, record: Record, *told: str) -> None:
        self._told.setdefault(record.attempt, set()).update(told)
        if self._broken is None:
            self._broken = record.time


_DECISIONS = {
    "relaunch": "It was started again",
    "spare": "It was started again with a spare node",
    "shrink": "It was started again with fewer nodes",
    "successor": "Another job was to go on",
    "requeue": "Slurm was to start the job again",
    "stop": "It was given up",
    "done": "",
}
_TELLERS: dict[str, Callable[[Teller, Record], str]] = {
    "incarnation_started": Teller._life,
    "preflight": Teller._preflight,
    "attempt_started": Teller._started,
    "first_step": Teller._first_step,
    "checkpoint_failed": Teller._save_failed,
    "checkpoint_quarantined": Teller._quarantined,
    "warned": Teller._warned,
    "node_lost": Teller._node_lost,
    "node_unfit": Teller._node_unfit,
    "hang": Teller._hang,
    "stuck": Teller._stuck,
    "task_exited": Teller._task_exited,
    "attempt_ended": Teller._ended,
    "failure": Teller._failure,
    "node_excluded": Teller._excluded,
    "decision": Teller._decided,
    "successor_submitted": Teller._successor,
}


_FIXED = {
    "requeued": "Slurm was asked to start the job again.",
    "run_completed": "The run is complete: whatever starts it again has nothing to do.",
}


def _first_line(text: object) -> str:
    lines = str(text or "").strip().splitlines()
    return lines[0] if lines else ""


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def _numbers(ranks: Sequence[int]) -> str:
    shown = words.listing([str(rank) for rank in ranks[:8]])
    return f"{shown} and {len(ranks) - 8} more" if len(ranks) > 8 else shown
