"""Ratios against a named rival in the same run: machines are noisy, so pairs are run in turn."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

_FIGURES: list[tuple[str, str, str]] = []


@dataclass(frozen=True)
class Pair:
    """Medians of two things that were run in turn, seconds."""

    ours_s: float
    rival_s: float
    ratio: float


@pytest.fixture
def figure() -> Callable[[str, str, str], None]:
    """Record a figure for the table at the end: what, measured, the bar."""
    return lambda what, measured, bar: _FIGURES.append((what, measured, bar))


@pytest.fixture
def in_turn() -> Callable[..., Pair]:
    """Time two functions in turn and return the medians, and the median ratio of the pairs."""

    def run(ours: Callable[[], object], rival: Callable[[], object], rounds: int = 11) -> Pair:
        ours()
        rival()
        pairs = [(_timed(ours), _timed(rival)) for _ in range(rounds)]
        return Pair(
            statistics.median(a for a, _ in pairs),
            statistics.median(b for _, b in pairs),
            statistics.median(a / b for a, b in pairs),
        )

    return run


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.fixture
def program() -> Callable[..., Callable[[], object]]:
    """Make a function that runs a program, with byte code kept as on a user's machine."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def make(*argv: str) -> Callable[[], object]:
        return lambda: subprocess.run(argv, env=env, check=True, capture_output=True, timeout=60)

    return make


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured beside what was asked for."""
    if _FIGURES:
        terminalreporter.section("figures")
        width = max(len(what) for what, _, _ in _FIGURES)
        for what, measured, bar in _FIGURES:
            terminalreporter.write_line(f"{what.ljust(width)}  {measured}  (asked for: {bar})")
