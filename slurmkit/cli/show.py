"""How runs and sites are shown to a person."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slurmkit.cli.output import dim, echo, note, paint_state, table

if TYPE_CHECKING:
    from slurmkit.api import ElementStatus, RankFailure, RunStatus

_MOST_ELEMENTS = 50


def state_line(status: "RunStatus") -> str:
    """Return one line on what a run is doing, such as ``demo: RUNNING on n[1-2]``."""
    if len(status.elements) > 1:
        counts = Counter(element.state for element in status.elements)
        parts = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        return f"{status.name}: {parts}"
    element = status.elements[0]
    where = f" on {element.nodes}" if element.nodes else ""
    reason = f" ({element.reason})" if element.reason and not element.nodes else ""
    return f"{status.name}: {element.state}{where}{reason}"


def print_end(status: "RunStatus") -> None:
    """Say on standard error how a run ended, and who failed first."""
    note(f"-- {state_line(status)}")
    for element in status.elements:
        if element.failure is not None:
            note(describe_failure(element.failure, element.task))
    if not status.ok:
        note(f"   logs: slurmkit logs {status.run_id}   files: {status.run_dir}")


def describe_failure(failure: "RankFailure", task: int | None = None) -> str:
    """Return which rank failed first, where, how and why, on a few lines."""
    who = f"rank {failure.rank}" if failure.rank is not None else "a launcher"
    where = f" on {failure.host}" if failure.host else ""
    element = f"task {task}: " if task is not None else ""
    if failure.exit_code is not None:
        how = f"exited with code {failure.exit_code}"
    else:
        how = f"was ended by {failure.signal}" if failure.signal else f"failed: {failure.detail}"
    reason = "".join(f"\n     {line}" for line in failure.reason.splitlines())
    return f"   {element}{who}{where} {how}{reason}"


def print_status(status: "RunStatus") -> None:
    """Print one run in full."""
    rows = [
        ("run", f"{status.name}/{status.run_id}"),
        ("job", _jobs(status) or "none (run on this machine)"),
        ("state", paint_state(status.state)),
    ]
    if len(status.elements) == 1:
        rows += _element_rows(status.elements[0])
    rows.append(("files", status.run_dir))
    for name, value in rows:
        echo(f"{name:9} {value}")
    if len(status.elements) > 1:
        echo()
        _print_elements(status.elements)
    for element in status.elements:
        if element.failure is not None:
            echo(describe_failure(element.failure, element.task))


def _element_rows(element: "ElementStatus") -> list[tuple[str, str]]:
    rows = [
        ("reason", element.reason if element.reason != "None" else ""),
        ("nodes", element.nodes),
        ("spares", element.spares),
        ("excluded", element.excluded),
        ("attempts", _attempts(element)),
        ("step", _progress(element)),
        ("started", _clock(element.start_time)),
        ("ends by" if element.exit_code is None else "ended", _clock(element.end_time)),
    ]
    return [(name, value) for name, value in rows if value]


def _jobs(status: "RunStatus") -> str:
    jobs = status.elements[0].jobs if len(status.elements) == 1 else []
    if len(jobs) < 2:
        return status.job_id
    *former, newest = jobs
    shown = ", ".join(former[-3:])
    more = f" and {len(former) - 3} more" if len(former) > 3 else ""
    return f"{newest}, after {shown}{more}"


def _attempts(element: "ElementStatus") -> str:
    if element.restarts:
        return f"{element.attempts}, {element.restarts} of them restarts"
    return str(element.attempts or "")


def _progress(element: "ElementStatus") -> str:
    if element.step is None:
        return ""
    if element.committed_step is None:
        return f"{element.step}, no checkpoint yet"
    return f"{element.step}, newest checkpoint at {element.committed_step}"


def _print_elements(elements: Sequence["ElementStatus"]) -> None:
    names = list(elements[0].values)
    shown = elements[:_MOST_ELEMENTS]
    lines = table(
        ["TASK", *[name.upper() for name in names], "STATE", "NODES", "REASON"],
        [
            [
                "-" if element.task is None else str(element.task),
                *[element.values.get(name, "") for name in names],
                element.state,
                element.nodes,
                element.reason,
            ]
            for element in shown
        ],
    )
    for line in lines:
        echo(line)
    if len(elements) > len(shown):
        echo(dim(f"… and {len(elements) - len(shown)} more; --json has them all"))


def print_status_list(statuses: Sequence["RunStatus"]) -> None:
    """Print runs, one line each."""
    if not statuses:
        echo("no runs yet; `slurmkit submit JOB.yaml` makes one")
        return
    rows = [
        [item.name, item.run_id, item.job_id or "-", item.state, _clock(item.submit_time)]
        for item in statuses
    ]
    for line in table(["NAME", "RUN ID", "JOB", "STATE", "SUBMITTED"], rows):
        echo(line)


def print_site(description: Mapping[str, Any]) -> None:
    """Print what slurmkit takes the cluster for, each key with where it comes from."""
    slurm = description["slurm"]
    if slurm["reachable"]:
        echo(f"slurm     {slurm['release']}, cluster {slurm['cluster']}, by {slurm['backend']}")
    else:
        echo(f"slurm     not reachable: {slurm['problem'].splitlines()[0]}")
    echo(f"site      {description['path'] or 'no site.yaml; defaults and what the cluster says'}")
    echo(f"run root  {description['run_root']}\n")
    rows = [
        [key, _plain(item["value"]), item["from"]]
        for key, item in description["keys"].items()
        if item["value"] not in (None, "", [], {})
    ]
    for line in table(["KEY", "VALUE", "FROM"], rows):
        echo(line)
    if description["fabric"]:
        echo("\nThe fabric gives jobs on several nodes:")
        rows = [[item["name"], item["value"], item["reason"]] for item in description["fabric"]]
        for line in table(["VARIABLE", "VALUE", "WHY"], rows):
            echo(line)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _clock(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""
