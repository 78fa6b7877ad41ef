"""How often to save: the optimum of Young and Daly, and whether a save is due; pure.

Nothing here reads a clock: whoever asks says what time it is, so that one rank can decide for all.
Sources: J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9),
1974; J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps",
FGCS 22(3), 2006, equation 37.
"""

import contextlib
import math
import re
from dataclasses import dataclass

from slurmkit.errors import UsageError
from slurmkit.units import parse_duration_s

# A guess for who has no record of failures. A job that fails less often than this saves a little
# too often, which costs little: the optimum is flat (see `overhead`).
DEFAULT_MTBF_S = 12 * 3600.0
SHORTEST_S = 20.0
LONGEST_S = 3600.0
# The first save of `auto` comes early: it measures the cost, and a job that cannot save says so.
FIRST_SAVE_S = 60.0
_STEPS = re.compile(r"(\d+)(?:\s*steps?)?", re.ASCII)


def young_s(save_s: float, mtbf_s: float) -> float:
    """Return Young's optimum time of work between saves, seconds: sqrt(2 * save * mtbf)."""
    return math.sqrt(2 * save_s * mtbf_s)


def daly_s(save_s: float, mtbf_s: float) -> float:
    """Return Daly's optimum time of work between saves, seconds.

    Args:
        save_s: how long a save keeps the job from working, seconds.
        mtbf_s: mean time between failures of the whole job, seconds.

    Raises:
        ValueError: the cost is negative or the mean time is not positive.
    """
    if save_s < 0 or not mtbf_s > 0:
        raise ValueError(f"a save of {save_s} s and {mtbf_s} s between failures make no sense")
    if save_s >= 2 * mtbf_s:
        return mtbf_s
    ratio = save_s / (2 * mtbf_s)
    return young_s(save_s, mtbf_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save_s


def overhead(interval_s: float, save_s: float, mtbf_s: float, restart_s: float = 0.0) -> float:
    """Return which part of the time is lost to saves, repeated work and restarts, 0 to 1.

    Daly's complete model for exponential failures (2006, equation 20): the expected wall time for
    an interval of work is ``mtbf * exp(restart/mtbf) * (exp((interval+save)/mtbf) - 1)``.
    """
    exponent = (interval_s + save_s) / mtbf_s
    if exponent > 500 or restart_s / mtbf_s > 500:  # nothing ever gets done
        return 1.0
    wall_s = mtbf_s * math.exp(restart_s / mtbf_s) * math.expm1(exponent)
    return 1 - interval_s / wall_s


@dataclass(frozen=True)
class Every:
    """How often a user wants saves: every so many steps, every so many seconds, or as is best.

    Attributes:
        steps: every this many steps; 0: not by steps.
        seconds: after this many seconds of work; 0: not by time. Both 0: automatic.
    """

    steps: int = 0
    seconds: float = 0.0

    @property
    def auto(self) -> bool:
        """Whether the interval follows from the cost of a save and the failures seen."""
        return not self.steps and not self.seconds

    @classmethod
    def parse(cls, text: str) -> "Every":
        """Read ``auto``, a number of steps (``100``) or a duration (``600s``, ``10m``).

        Raises:
            UsageError: it is none of these.
        """
        stripped = text.strip()
        if stripped == "auto":
            return cls()
        if match := _STEPS.fullmatch(stripped):
            if int(match[1]) > 0:
                return cls(steps=int(match[1]))
        else:
            with contextlib.suppress(ValueError):  # said below, with all forms
                seconds = parse_duration_s(stripped)
                if seconds is not None:
                    return cls(seconds=float(seconds))
        raise UsageError(
            f"{text!r} does not say how often to save",
            hint="write auto, a number of steps such as 100, or a duration such as 10m",
        )


class Schedule:
    """Whether a save is due; one rank asks, and all ranks do what it says.

    Args:
        every: what the user wants.
        mtbf_s: mean time between failures of this job, seconds; None when unknown.
        start_s: the time at which work begins, on any clock that only moves forward.
        step: the step from which the run goes on.
    """

    def __init__(
        self, every: Every, *, mtbf_s: float | None = None, start_s: float = 0.0, step: int = 0
    ) -> None:
        self.every = every
        self.mtbf_s = mtbf_s if mtbf_s and mtbf_s > 0 else DEFAULT_MTBF_S
        self._cost_s: float | None = None
        self._save_s = 0.0
        self._last_s = start_s
        self._last_step = step

    @property
    def interval_s(self) -> float | None:
        """Seconds of work between saves as of now; None when saves go by steps."""
        if self.every.steps:
            return None
        if self.every.seconds:
            return self.every.seconds
        if self._cost_s is None:
            return FIRST_SAVE_S
        best_s = min(max(daly_s(self._cost_s, self.mtbf_s), SHORTEST_S), LONGEST_S)
        return max(best_s, self._save_s)  # one asynchronous save at a time

    def due(self, step: int, now_s: float) -> bool:
        """Return whether to save now, at the boundary after `step`."""
        if step <= self._last_step:
            return False
        if self.every.steps:
            # By multiples, so that a resumed run saves at the steps of an undisturbed one
            return step // self.every.steps > self._last_step // self.every.steps
        return now_s - self._last_s >= (self.interval_s or 0.0)

    def begun(self, step: int, now_s: float) -> None:
        """Note that a save of `step` has begun; the next interval counts from here."""
        self._last_step = step
        self._last_s = now_s

    def finished(self, stall_s: float, save_s: float) -> None:
        """Learn from a save that was committed.

        Args:
            stall_s: how long it kept the job from working: what a save costs.
            save_s: from its begin to its commit; longer than the stall when asynchronous.
        """
        # The mean of old and new: one slow moment of the file system does not decide alone
        self._cost_s = stall_s if self._cost_s is None else (self._cost_s + stall_s) / 2
        self._save_s = save_s if not self._save_s else (self._save_s + save_s) / 2

    def failed(self, now_s: float) -> None:
        """Back off after a failed save: the next try comes after a whole interval."""
        self._last_s = now_s
