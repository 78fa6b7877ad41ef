"""The report of a run: where its time went, what failed, and how quickly it went on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from slurmkit.observe.accounting import lost_steps, seconds, spans
from slurmkit.observe.attempts import Attempt, History, read_history
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import Record, read_ledger


@dataclass(frozen=True)
class TimeSplit:
    """Where the time went, in seconds; the five parts add up to the wall time.

    Attributes:
        wall_s: from the begin of the first job to the end of the last, or to the last record.
        productive_s: steps whose result was kept.
        checkpoint_s: the program waited for a save.
        lost_s: steps that had to be made again, or whose result nobody has.
        restart_s: from the start of an attempt, or the end of the one before, to its first step.
        queued_s: between two jobs of the run.
    """

    wall_s: float = 0.0
    productive_s: float = 0.0
    checkpoint_s: float = 0.0
    lost_s: float = 0.0
    restart_s: float = 0.0
    queued_s: float = 0.0

    def __add__(self, other: "TimeSplit") -> "TimeSplit":
        return TimeSplit(*(a + b for a, b in zip(_parts(self), _parts(other), strict=True)))

    @property
    def ettr(self) -> float | None:
        """The effective training time ratio: productive time over wall time."""
        return self.productive_s / self.wall_s if self.wall_s else None


def _parts(split: TimeSplit) -> tuple[float, ...]:
    return (
        split.wall_s,
        split.productive_s,
        split.checkpoint_s,
        split.lost_s,
        split.restart_s,
        split.queued_s,
    )


@dataclass(frozen=True)
class SaveStats:
    """The checkpoints of a run.

    Attributes:
        committed: how many began to count.
        failed: saves that failed; the run went on without them.
        quarantined: checkpoints that turned out to be damaged and were put aside.
        mean_save_s: from the begin of a save until it counted; None without any.
        max_save_s: the longest of them.
        mean_stall_s: how long the training waited for one.
        max_size_bytes: the largest.
    """

    committed: int = 0
    failed: int = 0
    quarantined: int = 0
    mean_save_s: float | None = None
    max_save_s: float | None = None
    mean_stall_s: float | None = None
    max_size_bytes: int | None = None


@dataclass(frozen=True)
class ElementReport:
    """One element of an array, or the only one of an ordinary run.

    Attributes:
        task: array index; None for an ordinary run.
        state: ``waiting``, ``running``, or how the last attempt ended, by the ledger.
        tracked: whether the program told of its steps; without that, the time of an attempt that
            failed counts as lost, and its start as productive.
        ettr: productive time over wall time; None before the first attempt.
        mttr_s: mean time from a failure to the first step after it; None without any.
        mtbf_s: time that attempts ran, over failures; None without any.
        failures: how many of each kind.
        restarts: attempts after the first.
        jobs: Slurm's ids of the jobs that made the attempts, in order.
        step: the last step that is known of.
        committed_step: the newest checkpoint that counts.
        lost_steps: steps that were made in vain.
        excluded: nodes that were given up.
    """

    task: int | None
    state: str
    tracked: bool
    time: TimeSplit
    ettr: float | None
    mttr_s: float | None
    mtbf_s: float | None
    failures: dict[str, int]
    attempts: int
    restarts: int
    jobs: list[str]
    step: int | None
    committed_step: int | None
    lost_steps: int
    excluded: list[str]
    saves: SaveStats = field(default_factory=SaveStats)


@dataclass(frozen=True)
class RunReport:
    """A run; ``time``, ``failures`` and ``ettr`` are over all elements."""

    name: str
    run_id: str
    run_dir: str
    time: TimeSplit
    ettr: float | None
    failures: dict[str, int]
    elements: list[ElementReport] = field(default_factory=list)


def report_run(run: RunDir) -> RunReport:
    """Return the report of a run from its ledgers alone.

    Raises:
        LedgerError: a ledger is damaged.
    """
    elements = [
        report_element(read_ledger(element.ledger_path), task)
        for task, element in run.elements().items()
    ]
    time = sum((element.time for element in elements), TimeSplit())
    failures: Counter[str] = Counter()
    for element in elements:
        failures.update(element.failures)
    path = str(run.path)
    return RunReport(run.name, run.run_id, path, time, time.ettr, dict(failures), elements)


def report_element(records: Sequence[Record], task: int | None = None) -> ElementReport:
    """Return the report of one element from the records of its ledger."""
    history = read_history(records)
    found = spans(history)
    parts = seconds(found)
    time = TimeSplit(
        wall_s=found[-1].end - found[0].start if found else 0.0,
        **{f"{kind}_s": length for kind, length in parts.items()},
    )
    attempts = history.attempts
    failed = [attempt for attempt in attempts if attempt.failed]
    ran_s = sum(attempt.end - attempt.start for attempt in attempts)
    steps = [attempt.step for attempt in attempts if attempt.step is not None]
    commits = [commit.step for attempt in attempts for commit in attempt.commits]
    return ElementReport(
        task=task,
        state=history.state,
        tracked=bool(steps),
        time=time,
        ettr=time.ettr,
        mttr_s=_mean(_recoveries(attempts)),
        mtbf_s=ran_s / len(failed) if failed else None,
        failures=dict(Counter(failure_kind(attempt) for attempt in failed)),
        attempts=len(attempts),
        restarts=max(0, len(attempts) - 1),
        jobs=list(dict.fromkeys(attempt.job_id for attempt in attempts if attempt.job_id)),
        step=steps[-1] if steps else None,
        committed_step=max(commits, default=None),
        lost_steps=lost_steps(history),
        excluded=_excluded(history),
        saves=_saves(history),
    )


def failure_kind(attempt: Attempt) -> str:
    """Return the kind of an attempt's failure; those without a classification have their state."""
    kind = {"node_fail": "node", "failed": "application"}.get(attempt.state, attempt.state)
    return str(attempt.failure.get("kind") or kind)


def _recoveries(attempts: Sequence[Attempt]) -> list[float]:
    """Return for each failure after which it went on the seconds until the next first step."""
    found = []
    broken: float | None = None
    for attempt in attempts:
        if broken is not None and attempt.first_step is not None:
            found.append(attempt.first_step - broken)
            broken = None
        if attempt.failed and broken is None:
            broken = attempt.trouble if attempt.trouble is not None else attempt.end
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _excluded(history: History) -> list[str]:
    """Return the nodes that were given up; one that passed its checks later is used again."""
    found: set[str] = set()
    for record in history.records:
        if record.event == "node_excluded":
            found.add(str(record.fields.get("host", "")))
        elif record.event == "attempt_started":
            found -= {str(host) for host in record.fields.get("step_nodes") or ()}
    return sorted(found - {""})


def _saves(history: History) -> SaveStats:
    commits = [commit for attempt in history.attempts for commit in attempt.commits]
    count = Counter(record.event for record in history.records)
    return SaveStats(
        committed=len(commits),
        failed=count["checkpoint_failed"],
        quarantined=count["checkpoint_quarantined"],
        mean_save_s=_mean([commit.save_s for commit in commits]),
        max_save_s=max((commit.save_s for commit in commits), default=None),
        mean_stall_s=_mean([commit.stall_s for commit in commits]),
        max_size_bytes=max((commit.size_bytes for commit in commits), default=None),
    )
