"""When an attempt hangs: nothing goes on for longer than it ever should. Pure; no clock of its own.

With ``auto`` the limit is learned: ten times the 99th percentile of the time between two steps, but
at least five minutes, because programs also evaluate, and NCCL itself gives up after ten. Loading
and saving have budgets of their own, and a save learns from the saves before it, so that a shared
file system that gets slow is not taken for a hang. Each time that a learned limit was exceeded, the
next is twice as long: a program with long pauses is interrupted a few times and not for ever.

With a duration, that duration is the limit between steps; loading and saving keep the larger of it
and their budget. A program that reports no steps is then judged by its output alone, but
not in its first 30 seconds. Its processor time says nothing: a rank that waits in a collective
spins at 100 %.
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass

FACTOR = 10.0
_LEAST_GAPS = 20
_KEPT_GAPS = 512


@dataclass(frozen=True)
class HangSettings:
    """What counts as a hang.

    Attributes:
        limit_s: seconds that the user set; None for learned limits.
        off: never.
        floor_s: the least of a learned limit.
        ceiling_s: the most of a learned limit, and the limit until enough steps were seen.
        start_s: from the start of an attempt to the first step: imports, compilation, data.
        grace_s: from the start of an attempt until its output alone is judged.
        load_s: for loading a checkpoint.
        save_s: for the part of a save that holds the ranks up.
    """

    limit_s: float | None = None
    off: bool = False
    floor_s: float = 300.0
    ceiling_s: float = 3600.0
    start_s: float = 3600.0
    grace_s: float = 30.0
    load_s: float = 1800.0
    save_s: float = 1800.0


@dataclass(frozen=True)
class HangFound:
    """A hang: how long nothing went on, how long that may be, and what was waited for."""

    silent_s: float
    limit_s: float
    what: str


def settings_of(value: str | float) -> HangSettings:
    """Return the settings that ``auto``, ``off`` or a number of seconds mean."""
    if value == "auto":
        return HangSettings()
    if value == "off":
        return HangSettings(off=True)
    return HangSettings(limit_s=float(value))


class HangDetector:
    """Told what goes on; says when nothing does.

    Times are seconds of one clock that never runs backwards.
    """

    def __init__(self, settings: HangSettings) -> None:
        self._settings = settings
        self._gaps: deque[float] = deque(maxlen=_KEPT_GAPS)
        self._sorted: list[float] = []
        self._longest_save_s = 0.0
        self._patience = 1.0
        self._running = False
        self.begin(0.0)
        self._running = False

    def begin(self, now: float) -> None:
        """An attempt starts; what was learned stays."""
        self._running = True
        self._begun = now
        self._phase = "start"
        self._phase_since = now
        self._life = now
        self._step: int | None = None
        self._output: float | None = None
        self._reports = False

    def end(self) -> None:
        """The attempt is over."""
        self._running = False

    def progressed(self, now: float, step: int) -> None:
        """All ranks have done this step."""
        self._reports = True
        if self._step is not None and step <= self._step:
            return
        if self._step is not None and self._phase == "run":
            self._learn((now - self._life) / 1.0)
        self._step = step
        self._life = now
        if self._phase in ("start", "load"):
            self._enter("run", now)

    def session(self, now: float) -> None:
        """A rank's Session is there: the program reports its steps."""
        self._reports = True
        self._life = now

    def phase(self, now: float, phase: str) -> None:
        """Ranks now load, run, save or stop."""
        self._reports = True
        if phase == "run" and self._step is None:
            phase = "start"  # until the first step: it compiles, and reads its data
        if self._phase == "save" and phase != "save":
            self._longest_save_s = max(self._longest_save_s, now - self._phase_since)
        if phase != self._phase:
            self._enter(phase, now)

    def output(self, now: float) -> None:
        """Ranks have written something."""
        self._output = now

    def _enter(self, phase: str, now: float) -> None:
        self._phase, self._phase_since, self._life = phase, now, now

    def check(self, now: float) -> HangFound | None:
        """Return the hang, if it is one; then start over, so that each is said once."""
        if not self._running or self._settings.off:
            return None
        limit = self._limit()
        if limit is None:
            return None
        limit_s, what = limit
        life = self._life
        if not self._reports:
            # A Session may still come: the import of torch alone takes longer than a short limit.
            first = self._begun + self._settings.grace_s - limit_s
            life = max(life, self._output or 0.0, first)
        silent_s = now - life
        if silent_s <= limit_s:
            return None
        self._patience *= 2.0
        self._running = False
        return HangFound(silent_s, limit_s, what)

    def _limit(self) -> tuple[float, str] | None:
        """Return the limit now and what is waited for; None when nothing can be judged."""
        settings = self._settings
        if not self._reports:
            if settings.limit_s is None:
                return None
            return settings.limit_s, "output of any rank"
        least_s = settings.limit_s or 0.0
        if self._phase == "start":
            if settings.limit_s is not None and self._step is not None:
                return settings.limit_s, "the next step"
            return max(least_s, settings.start_s), "the first step"
        if self._phase == "load":
            return max(least_s, settings.load_s), "the end of loading a checkpoint"
        if self._phase in ("save", "stopping"):
            saves_s = max(settings.save_s, FACTOR * self._longest_save_s)
            return max(least_s, saves_s), "the end of a save"
        if settings.limit_s is not None:
            return settings.limit_s, "the next step"
        return self.learned_s(), "the next step"

    def learned_s(self) -> float:
        """Return the limit between two steps as learned so far, seconds."""
        settings = self._settings
        if len(self._sorted) < _LEAST_GAPS:
            return settings.ceiling_s
        p99 = self._sorted[min(len(self._sorted) - 1, int(len(self._sorted) * 0.99))]
        learned = max(settings.floor_s, FACTOR * p99) * self._patience
        return min(settings.ceiling_s, learned)

    def _learn(self, gap_s: float) -> None:
        if len(self._gaps) == _KEPT_GAPS:
            self._sorted.remove(self._gaps[0])
        self._gaps.append(gap_s)
        insort(self._sorted, gap_s)
