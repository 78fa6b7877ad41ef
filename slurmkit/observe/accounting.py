"""Where the time of a run went: every second of it in exactly one of five classes.

* productive: steps whose result was kept;
* checkpoint: the program waited for a save;
* lost: steps that had to be made again, or whose result nobody has;
* restart: from the start of an attempt, or the end of the one before, to its first step;
* queued: between two jobs.

What is computed and what is lost of an attempt depends on where a later one went on: everything
behind that step was in vain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from slurmkit.observe.attempts import Attempt, History

CLASSES = ("productive", "checkpoint", "lost", "restart", "queued")
_NOTHING = -1


@dataclass(frozen=True)
class Span:
    """A stretch of time in one of CLASSES; Unix seconds."""

    kind: str
    start: float
    end: float

    @property
    def length_s(self) -> float:
        """How long it is."""
        return self.end - self.start


def spans(history: History) -> list[Span]:
    """Return the whole time of a run in order, without gaps and without overlaps.

    It begins with the first record of the first attempt's job and ends with the last attempt; of a
    run that has not ended, with its last record.
    """
    attempts = history.attempts
    if not attempts:
        return []
    found: list[Span] = []
    cuts = _cuts(history)
    tracked = any(attempt.first_step is not None for attempt in attempts)
    now = _begin(history)
    for position, attempt in enumerate(attempts):
        found += _gap(history, attempts[position - 1] if position else None, attempt, now)
        is_last = position == len(attempts) - 1
        found += _work(attempt, cuts[position], tracked=tracked, is_last=is_last)
        now = max(now, attempt.end)
    if not history.over and attempts[-1].state:  # between two attempts
        handed_over = history.state == "waiting"
        last = history.records[-1].time
        found.append(Span("queued" if handed_over else "restart", now, last))
    return list(_in_order(found))


def _in_order(found: Sequence[Span]) -> Iterator[Span]:
    """Yield the spans cut so that each begins where the one before ends.

    Ledgers are written by machines that die: two jobs may have written at the same time.
    """
    now = found[0].start
    for span in found:
        if span.end > now:
            yield Span(span.kind, now, span.end)
            now = span.end


def seconds(found: Sequence[Span]) -> dict[str, float]:
    """Return how many seconds each class has."""
    return {kind: sum(span.length_s for span in found if span.kind == kind) for kind in CLASSES}


def lost_steps(history: History) -> int:
    """Return how many steps were made in vain."""
    total = 0
    for attempt, cut in zip(history.attempts, _cuts(history), strict=True):
        if cut is not None and attempt.step is not None:
            base = attempt.restored if attempt.restored is not None else 0
            total += max(0, attempt.step - max(cut, base, 0))
    return total


def _begin(history: History) -> float:
    first = history.attempts[0]
    return next(begin for name, begin, _ in history.lives if name == first.incarnation)


def _cuts(history: History) -> list[int | None]:
    """Return for each attempt the last step that was of use; None when all of them were."""
    cut: int | None = None
    if history.over and history.state != "completed":
        commits = [commit.step for attempt in history.attempts for commit in attempt.commits]
        cut = max(commits, default=_NOTHING)
    cuts: list[int | None] = []
    for attempt in reversed(history.attempts):
        cuts.append(cut)
        if attempt.first_step is not None:
            base = attempt.restored if attempt.restored is not None else _NOTHING
            cut = base if cut is None else min(cut, base)
    return cuts[::-1]


def _gap(
    history: History, before: Attempt | None, attempt: Attempt, since: float
) -> Iterator[Span]:
    """Yield the time between two attempts; where the job changed, most of it was in the queue."""
    if before is None or before.incarnation == attempt.incarnation:
        yield Span("restart", since, attempt.start)
        return
    lives = {name: (begin, end) for name, begin, end in history.lives}
    gone = min(max(since, lives[before.incarnation][1]), attempt.start)
    back = min(max(gone, lives[attempt.incarnation][0]), attempt.start)
    yield Span("restart", since, gone)
    yield Span("queued", gone, back)
    yield Span("restart", back, attempt.start)


def _work(attempt: Attempt, cut: int | None, *, tracked: bool, is_last: bool) -> Iterator[Span]:
    if attempt.first_step is None:
        yield Span(_untold(attempt, tracked=tracked, is_last=is_last), attempt.start, attempt.end)
        return
    yield Span("restart", attempt.start, attempt.first_step)
    for span in [*_steps(attempt, cut), *_tail(attempt, cut)]:
        yield from _with_stalls(span, attempt) if span.kind == "productive" else [span]


def _untold(attempt: Attempt, *, tracked: bool, is_last: bool) -> str:
    """Return the class of an attempt that told of no step."""
    if tracked and attempt.state != "completed":
        return "restart"  # others did, so this one was still starting
    useful = attempt.state == "completed" or (is_last and not attempt.state)
    return "productive" if useful else "lost"


def _steps(attempt: Attempt, cut: int | None) -> Iterator[Span]:
    """Yield the time between the points that are known."""
    points = attempt.points
    for (start, step), (end, next_step) in pairwise(points):
        if cut is None or next_step <= cut:
            yield Span("productive", start, end)
        elif step >= cut:
            yield Span("lost", start, end)
        else:
            at = start + (end - start) * (cut - step) / (next_step - step)
            yield Span("productive", start, at)
            yield Span("lost", at, end)


def _tail(attempt: Attempt, cut: int | None) -> Iterator[Span]:
    """Yield the time after the last step that is known of."""
    since, step = attempt.points[-1]
    end = max(since, attempt.end)
    if cut is None:
        yield Span("productive", since, end)
    elif step > cut:
        yield Span("lost", since, end)
    else:
        saved = max((c.time for c in attempt.commits), default=since)
        saved = min(max(saved, since), end)
        yield Span("checkpoint", since, saved)
        yield Span("lost" if attempt.failed else "restart", saved, end)


def _with_stalls(span: Span, attempt: Attempt) -> Iterator[Span]:
    """Yield a productive span with the times taken out at which it waited for a save."""
    now = span.start
    for commit in sorted(attempt.commits, key=lambda commit: commit.begun):
        start = min(max(commit.begun, now), span.end)
        end = min(max(commit.begun + commit.stall_s, start), span.end)
        if end > start:
            yield Span("productive", now, start)
            yield Span("checkpoint", start, end)
            now = end
    yield Span("productive", now, span.end)
