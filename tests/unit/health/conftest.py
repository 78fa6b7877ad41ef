"""A prepared node: files below a folder, and what a check says of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.health.check import Node
from slurmkit.health.counters import Counters
from slurmkit.health.registry import all_checks
from slurmkit.health.verdict import Verdict

CHECKS = {check.id: check for check in all_checks()}


@pytest.fixture
def say(tmp_path: Path) -> Callable[..., Verdict]:
    """Return what runs a check of the node, of which more may be known."""

    def run(check: str, **known: object) -> Verdict:
        return CHECKS[check].run(Node(**{"root": tmp_path, **known}))

    return run


@pytest.fixture
def process(put: Callable[[str, str], None]) -> Callable[..., None]:
    """Return what lets a process of a job, or of none, run on the node."""

    def start(pid: int, command: str, job: str = "", state: str = "S") -> None:
        put(f"proc/{pid}/cmdline", command.replace(" ", "\0"))
        put(f"proc/{pid}/comm", command.split(maxsplit=1)[0][:15])
        put(f"proc/{pid}/environ", f"A=b\0SLURM_JOB_ID={job}\0" if job else "A=b\0")
        put(f"proc/{pid}/stat", f"{pid} (x y) {state} " + " ".join(["1"] * 30))

    return start


@pytest.fixture
def look(tmp_path: Path, say: Callable[..., Verdict]) -> Callable[[str, float], Verdict]:
    """Return what looks at the node at an hour, as its health program does."""

    def run(check: str, hours: float) -> Verdict:
        counters = Counters(tmp_path / "counters.json", 1e9 + hours * 3600)
        found = say(check, counters=counters)
        counters.save()
        return found

    return run
