"""The logs of a run: whole, the end, one rank's, or as they grow."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slurmkit.api.status import RunStatus
from slurmkit.api.tail import Tail
from slurmkit.errors import UsageError
from slurmkit.rundir.layout import RunDir

_FILE_POLL_S = 0.2
# Slurm is asked often at first, then seldom; an element that notes its end is asked about at once.
_FIRST_ASK_S, _LAST_ASK_S, _ASK_GROWTH, _ASK_AFTER_END_S = 0.5, 5.0, 1.3, 0.4
_BATCH_OUTPUT = re.compile(r"slurm-(?P<job>\d+)(?:_(?P<task>\d+))?\.out", re.ASCII)
# Shared file systems show the last lines some time after the job has ended.
_SETTLE_S = 1.0


@dataclass(frozen=True)
class LogSelection:
    """Which part of the logs; see Run.logs."""

    job_id: str
    rank: int | None = None
    task: int | None = None
    attempt: int | None = None
    lines: int | None = None


def read_logs(run: RunDir, selection: LogSelection) -> Iterator[bytes]:
    """Yield what there is now.

    Raises:
        UsageError: there is no such rank, element or attempt; names those that there are.
    """
    tails = _tails(run, selection)
    if not tails:
        raise UsageError(*_nothing(run, selection))
    return _drain(tails, selection.lines)


def _drain(tails: list[Tail], lines: int | None) -> Iterator[bytes]:
    for tail in tails:
        if lines is not None:
            tail.skip_to_last(lines)
        while chunk := tail.read():
            yield chunk
        if rest := tail.read(final=True):
            yield rest


def follow_logs(
    run: RunDir,
    selection: LogSelection,
    ask: Callable[[], RunStatus],
    on_change: Callable[[RunStatus], None] | None = None,
) -> Iterator[bytes]:
    """Yield what there is and what comes, until the run has ended and nothing more comes.

    Args:
        run: the run.
        selection: which part.
        ask: what returns the present status.
        on_change: told whenever the state of any element changes.
    """
    tails: dict[Path, Tail] = {}
    next_ask, pause, last, ended_at = 0.0, _FIRST_ASK_S, None, None
    while True:
        now = time.monotonic()
        if ended_at is None and now >= next_ask:
            status = ask()
            pause = _ASK_AFTER_END_S if _noted_end(run) else min(pause * _ASK_GROWTH, _LAST_ASK_S)
            next_ask = now + pause
            summary = [(element.state, element.reason) for element in status.elements]
            if on_change is not None and summary != last:
                on_change(status)
            last = summary
            ended_at = now if status.done else None
        elif _noted_end(run):
            next_ask = min(next_ask, now + _ASK_AFTER_END_S)
        first_look = not tails
        for tail in _tails(run, selection):
            if tail.path not in tails:
                tails[tail.path] = tail
                if first_look and selection.lines is not None:
                    tail.skip_to_last(selection.lines)
        chunks = [chunk for tail in tails.values() if (chunk := tail.read())]
        yield from chunks
        if chunks:
            continue
        if ended_at is not None and now - ended_at >= _SETTLE_S:
            break
        time.sleep(_FILE_POLL_S)
    yield from (rest for tail in tails.values() if (rest := tail.read(final=True)))


def _noted_end(run: RunDir) -> bool:
    return any(element.ended_path.exists() for element in run.elements().values())


def _tails(run: RunDir, selection: LogSelection) -> list[Tail]:
    """Return the files that the selection means and that exist, with the prefix of their lines."""
    # Of a local run, and of a script given to plain sbatch, the output is not in the run directory.
    has_batch_output = selection.job_id and not run.run_id.startswith("job-")
    if selection.rank is None and selection.attempt is None and has_batch_output:
        return _batch_outputs(run, selection)
    found = []
    for task, element in run.elements().items():
        if selection.task not in (None, task):
            continue
        attempt = selection.attempt or max(element.attempts(), default=1)
        path = (
            element.attempt_dir(attempt) / "merged.log"
            if selection.rank is None
            else element.rank_log_path(attempt, selection.rank)
        )
        if path.exists():
            found.append(Tail(path, b"" if task is None else b"[task %d] " % task))
    return found


def _batch_outputs(run: RunDir, selection: LogSelection) -> list[Tail]:
    """Return the batch scripts' outputs: set-up and all ranks, of all attempts.

    Every job that went on with the run has one of its own, the oldest comes first; when only the
    last lines are wanted, those of the newest are.
    """
    found: dict[int | None, list[tuple[int, Path]]] = {}
    for path in run.element().logs_dir.glob("slurm-*.out"):
        if match := _BATCH_OUTPUT.fullmatch(path.name):
            task = int(match["task"]) if match["task"] else None
            found.setdefault(task, []).append((int(match["job"]), path))
    tails = []
    for task in sorted(found, key=lambda task: -1 if task is None else task):
        if selection.task not in (None, task):
            continue
        paths = [path for _, path in sorted(found[task])]
        if selection.lines is not None:
            paths = paths[-1:]
        prefix = b"" if task is None else b"[task %d] " % task
        tails += [Tail(path, prefix) for path in paths]
    return tails


def _nothing(run: RunDir, selection: LogSelection) -> tuple[str]:
    wanted = [
        f"{word} {value}"
        for word, value in (
            ("task", selection.task),
            ("rank", selection.rank),
            ("attempt", selection.attempt),
        )
        if value is not None
    ]
    logs = sorted(path.name for path in run.element().logs_dir.rglob("rank-*.log"))
    if not wanted or not logs:
        return (f"{run.name}/{run.run_id} has written nothing yet",)
    ranks = f"ranks {int(logs[0][5:10])} to {int(logs[-1][5:10])} have" if logs else "nobody has"
    return (f"{run.name}/{run.run_id} has no log of {', '.join(wanted)}; {ranks} one",)
