"""What a new life of a job learns from the run directory before it does anything."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slurmkit.rundir.layout import ElementDir, RunDir
from slurmkit.rundir.ledger import Record
from slurmkit.supervise.context import JobContext
from slurmkit.supervise.options import Options
from slurmkit.supervise.policy_values import HandOver, Rules, State

#: Failures that say how often hardware breaks; a bug of the program does not.
_BREAKS = frozenset({"node", "transient", "hang"})


@dataclass(frozen=True)
class Past:
    """What the ledger says of the run so far.

    Attributes:
        completed: whether the program has ended well.
        restarts: starts since the last commit, without the first.
        application_restarts: those of them that followed a failure of the program itself.
        committed: the newest committed step.
        tracked: whether the program tells of its steps and checkpoints.
        keys: of the program's failures since the last commit.
        blamed: nodes whose ranks were behind in a hang.
        excluded: nodes that are not to be used, with the reasons.
        handed_over: by the id of the job that handed the run over: the job that it went to.
        num_breaks: how often hardware has failed it.
        running_s: seconds in which attempts ran.
        last_incarnation: who wrote the last record.
        last_host: where its supervisor ran.
    """

    completed: bool = False
    restarts: int = 0
    application_restarts: int = 0
    committed: int | None = None
    tracked: bool = False
    keys: tuple[str, ...] = ()
    blamed: frozenset[str] = frozenset()
    excluded: tuple[tuple[str, str], ...] = ()
    handed_over: dict[str, str] = field(default_factory=dict)
    num_breaks: int = 0
    running_s: float = 0.0
    last_incarnation: str = ""
    last_host: str = ""

    @property
    def mean_time_between_failures_s(self) -> float | None:
        """Return it in seconds; None before anything has failed."""
        return self.running_s / self.num_breaks if self.num_breaks and self.running_s else None


def past_of(records: Sequence[Record]) -> Past:
    """Return what a ledger says of the run so far."""
    past = Past()
    started: float | None = None
    for record in records:
        past = _after(past, record)
        if record.event == "attempt_started":
            started = record.time
        elif record.event == "attempt_ended" and started is not None:
            past = replace(past, running_s=past.running_s + max(0.0, record.time - started))
            started = None
    return replace(past, last_incarnation=records[-1].incarnation if records else "")


def _after(past: Past, record: Record) -> Past:
    """Return what is known after one more record."""
    reader = _READERS.get(record.event)
    return reader(past, record) if reader else past


def _committed(past: Past, record: Record) -> Past:
    newest = max(past.committed or 0, int(record.fields["step"]))
    return replace(
        past, committed=newest, restarts=0, application_restarts=0, keys=(), tracked=True
    )


def _decided(past: Past, record: Record) -> Past:
    fields = record.fields
    return replace(
        past,
        restarts=int(fields.get("restarts", past.restarts)),
        application_restarts=int(fields.get("application_restarts", past.application_restarts)),
    )


def _failed(past: Past, record: Record) -> Past:
    key, kind = str(record.fields.get("key") or ""), record.fields.get("kind")
    past = replace(past, num_breaks=past.num_breaks + (kind in _BREAKS))
    if key and kind in ("application", "memory"):
        return replace(past, keys=(*past.keys, key))
    return past


def _excluded(past: Past, record: Record) -> Past:
    pair = (str(record.fields["host"]), str(record.fields.get("reason", "")))
    rest = tuple(known for known in past.excluded if known[0] != pair[0])
    return replace(past, excluded=(*rest, pair))


def _handed_over(past: Past, record: Record) -> Past:
    former = str(record.fields.get("former") or record.incarnation.partition(".")[0])
    return replace(past, handed_over={**past.handed_over, former: str(record.fields["job_id"])})


_READERS: dict[str, Callable[[Past, Record], Past]] = {
    "incarnation_started": lambda past, record: replace(
        past, last_host=str(record.fields.get("host") or "")
    ),
    "first_step": lambda past, _record: replace(past, tracked=True),
    "checkpoint_committed": _committed,
    "decision": _decided,
    "failure": _failed,
    "hang": lambda past, record: replace(
        past, blamed=past.blamed | set(record.fields.get("hosts") or ())
    ),
    "node_excluded": _excluded,
    "successor_submitted": _handed_over,
    "run_completed": lambda past, _record: replace(past, completed=True),
}


def initial_state(rules: Rules, past: Past) -> State:
    """Return the state that a new life of the job starts in."""
    return State(
        rules,
        excluded=past.excluded,
        forgivable=frozenset(host for host, _ in past.excluded),
        restarts=past.restarts,
        application_restarts=past.application_restarts,
        committed=past.committed,
        tracked=past.tracked,
        keys=past.keys,
        blamed=past.blamed,
    )


@dataclass(frozen=True)
class Inherited:
    """A hand-over that its supervisor could not write down: it died with its node.

    Attributes:
        former: the job whose supervisor died.
        host: the node that it died with.
        reason: why this job goes on, in a sentence.
        way: whether it was submitted as a successor, or the same job was started again.
    """

    former: str
    host: str
    reason: str
    way: HandOver = "successor"


@dataclass(frozen=True)
class Life:
    """What one life of a job starts from.

    Attributes:
        options: the command line of its supervisor.
        job: the job.
        run: the run's folder.
        past: what the ledger says.
        handed: how the run came here, where the ledger does not know; None otherwise.
        can_move: whether the launcher's line can be rewritten for other nodes.
    """

    options: Options
    job: JobContext
    run: RunDir
    past: Past
    handed: Inherited | None = None
    can_move: bool = True


def inherited(job_id: str, past: Past, element: ElementDir) -> Inherited | None:
    """Return the hand-over to this job that the ledger does not know of; None for none."""
    former = past.last_incarnation.partition(".")[0]
    reason = f"{past.last_host} died, and the supervisor of job {former} with it"
    if former == job_id and requeued_path(element, past.last_incarnation).exists():
        return Inherited(former, past.last_host, reason, "requeue")
    if not former or former in past.handed_over or claims(element).get(former) != job_id:
        return None
    return Inherited(former, past.last_host, reason)


def requeued_path(element: ElementDir, incarnation: str) -> Path:
    """Return what an agent leaves that has requeued a job because its supervisor was dead."""
    return element.path / "control" / f"requeued-{incarnation}"


def after_hand_over(past: Past, handed: Inherited | None) -> Past:
    """Return what is known with such a hand-over: it is a restart, and its node is left out."""
    if handed is None:
        return past
    rest = tuple(pair for pair in past.excluded if pair[0] != handed.host)
    return replace(
        past,
        restarts=past.restarts + 1,
        num_breaks=past.num_breaks + 1,
        excluded=(*rest, (handed.host, handed.reason)),
    )


def successor_of(job_id: str, past: Past, element: ElementDir) -> str:
    """Return the job that this job's run was handed over to; empty for none.

    A job that handed over may be started again by Slurm all the same, such as one whose first node
    died: it has to leave the run alone then.
    """
    successor = past.handed_over.get(job_id) or claims(element).get(job_id, "")
    return successor if successor != job_id else ""


def claims(element: ElementDir) -> dict[str, str]:
    """Return, by the id of a job, the successor that was submitted for it."""
    found: dict[str, str] = {}
    folder = element.path / "control"
    try:
        paths = sorted(folder.glob("successor-*.json"))
    except OSError:
        return found
    for path in paths:
        incarnation = path.name.removeprefix("successor-").removesuffix(".json")
        try:
            job_id = json.loads(path.read_bytes()).get("job_id", "")
        except (OSError, ValueError, AttributeError):  # being written, or never finished
            continue
        if job_id:
            found[incarnation.partition(".")[0]] = str(job_id)
    return found
