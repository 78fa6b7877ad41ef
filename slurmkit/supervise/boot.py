"""What a new life of a job learns from the run directory before it does anything."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from slurmkit.rundir.layout import ElementDir
from slurmkit.rundir.ledger import Record
from slurmkit.supervise.policy_values import Rules, State

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
    fields = record.fields
    if record.event == "checkpoint_committed":
        past = replace(past, restarts=0, application_restarts=0, keys=(), tracked=True)
        return replace(past, committed=max(past.committed or 0, int(fields["step"])))
    if record.event == "first_step":
        return replace(past, tracked=True)
    if record.event == "decision":
        return replace(
            past,
            restarts=int(fields.get("restarts", past.restarts)),
            application_restarts=int(fields.get("application_restarts", past.application_restarts)),
        )
    if record.event == "failure":
        key = str(fields.get("key") or "")
        breaks = past.num_breaks + (fields.get("kind") in _BREAKS)
        keys = (*past.keys, key) if key and fields.get("kind") in ("application", "memory") else ()
        return replace(past, num_breaks=breaks, keys=keys or past.keys)
    if record.event == "hang":
        return replace(past, blamed=past.blamed | set(fields.get("hosts") or ()))
    if record.event == "node_excluded":
        rest = tuple(pair for pair in past.excluded if pair[0] != fields["host"])
        pair = (str(fields["host"]), str(fields.get("reason", "")))
        return replace(past, excluded=(*rest, pair))
    if record.event == "successor_submitted":
        former = record.incarnation.partition(".")[0]
        return replace(past, handed_over={**past.handed_over, former: str(fields["job_id"])})
    if record.event == "run_completed":
        return replace(past, completed=True)
    return past


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
