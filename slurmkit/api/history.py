"""What the run directory itself remembers: swept values, attempts, and who failed first."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slurmkit.api.status import RankFailure
from slurmkit.hostlist import HostlistError, compress, expand
from slurmkit.plan.model import Sweep
from slurmkit.rundir.jobs import successors
from slurmkit.rundir.layout import ElementDir, RunDir
from slurmkit.rundir.ledger import Record, read_ledger


@dataclass(frozen=True)
class ElementHistory:
    """What is known of one element from its ledger and the plan; see ElementStatus."""

    values: dict[str, str] = field(default_factory=dict)
    attempts: int = 0
    nodes: str = ""
    start_time: float | None = None
    end_time: float | None = None
    exit_code: int | None = None
    failure: RankFailure | None = None
    successors: tuple[str, ...] = ()
    step: int | None = None
    committed_step: int | None = None
    spares: str = ""
    excluded: str = ""


def read_history(run: RunDir) -> dict[int | None, ElementHistory]:
    """Return the history of every element by array task; the only key without an array is None.

    Raises:
        LedgerError: a ledger is damaged.
    """
    sweep = _read_sweep(run)
    started = {task: _summary(element, sweep, task) for task, element in run.elements().items()}
    if sweep is None:
        return started
    waiting: dict[int | None, ElementHistory] = {
        task: ElementHistory(values=_values(sweep, task))
        for task in range(sweep.num_elements)
        if task not in started
    }
    started.pop(None, None)
    return {**started, **waiting}


def _read_sweep(run: RunDir) -> Sweep | None:
    try:
        plan: dict[str, Any] = json.loads(run.plan_path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None  # a rendered script that was given to plain sbatch writes no plan
    sweep = plan.get("sweep")
    if not sweep:
        return None
    return Sweep(tuple((name, tuple(values)) for name, values in sweep["axes"]))


def _values(sweep: Sweep | None, task: int | None) -> dict[str, str]:
    if sweep is None or task is None or task >= sweep.num_elements:
        return {}
    named = sweep.element(task)
    return {name.removeprefix("SWEEP_").lower(): value for name, value in named.items()}


def _summary(element: ElementDir, sweep: Sweep | None, task: int | None) -> ElementHistory:
    records = read_ledger(element.ledger_path)
    starts = [record for record in records if record.event == "attempt_started"]
    ends = [record for record in records if record.event == "attempt_ended"]
    attempt = starts[-1].attempt if starts else 0
    ended = ends[-1] if ends and ends[-1].attempt == attempt else None
    used = _hosts(starts[-1].fields.get("step_nodes")) if starts else []
    excluded = _excluded(records)
    idle = set(_allocated(records)) - set(used) - set(excluded) if used else set()
    return ElementHistory(
        values=_values(sweep, task),
        attempts=len(starts),
        nodes=str(starts[-1].fields.get("nodes", "")) if starts else "",
        start_time=starts[-1].time if starts else None,
        end_time=ended.time if ended else None,
        exit_code=ended.fields.get("exit_code") if ended else None,
        failure=first_failure([record for record in records if record.attempt == attempt]),
        successors=tuple(successors(element, records)),
        step=_last_step(records, "first_step", "progress", "checkpoint_committed"),
        committed_step=_last_step(records, "checkpoint_committed"),
        spares=compress(sorted(idle)),
        excluded=compress(sorted(excluded)),
    )


def _last_step(records: Sequence[Record], *events: str) -> int | None:
    found = (record for record in reversed(records) if record.event in events)
    last = next(found, None)
    return int(last.fields["step"]) if last is not None else None


def _hosts(value: object) -> list[str]:
    return [str(host) for host in value] if isinstance(value, list) else []


def _allocated(records: Sequence[Record]) -> list[str]:
    """Return the nodes of the newest job."""
    starts = [record for record in records if record.event == "incarnation_started"]
    text = str(starts[-1].fields.get("nodes", "")) if starts else ""
    try:
        return expand(text) if text else []
    except HostlistError:
        return []


def _excluded(records: Sequence[Record]) -> list[str]:
    """Return the nodes that are not used any more, by the newest word on it."""
    found: dict[str, None] = {}
    for record in records:
        if record.event == "incarnation_started":
            found = dict.fromkeys(_hosts(record.fields.get("excluded")))
        elif record.event == "node_excluded":
            found[str(record.fields.get("host", ""))] = None
        elif record.event == "attempt_started":
            for host in _hosts(record.fields.get("step_nodes")):
                found.pop(host, None)  # it passed its checks, and is used again
        elif record.event == "decision" and record.fields.get("excluded") is not None:
            found = dict.fromkeys(_hosts(record.fields["excluded"]))
    return [host for host in found if host]


def first_failure(records: Sequence[Record]) -> RankFailure | None:
    """Return the rank that failed first in one attempt, not those that were ended because of it."""
    exits = [record for record in records if record.event == "task_exited"]
    first = next((record for record in exits if not record.fields.get("consequence")), None)
    # The supervisor's own verdict comes last and has seen everything.
    verdict = next((r for r in reversed(records) if r.fields.get("root_cause")), None)
    if verdict is not None:
        first = replace(verdict, fields=verdict.fields["root_cause"])
    if first is None:
        return None
    return RankFailure(
        rank=first.fields.get("rank"),
        host=str(first.fields.get("host") or ""),
        exit_code=first.fields.get("exit_code"),
        signal=str(first.fields.get("signal") or ""),
        reason=str(first.fields.get("reason") or ""),
        detail=str(first.fields.get("detail") or ""),
        attempt=first.attempt,
    )
