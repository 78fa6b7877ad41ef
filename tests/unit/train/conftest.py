"""Ranks to kill: a process that forks them, shared by all tests of a file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LAUNCHER_PREFIXES = ("SLURM", "OMPI_", "PMI", "MASTER_", "RANK", "WORLD_", "LOCAL_", "NODE_RANK")
Attempt = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def clean_env() -> dict[str, str]:
    """The environment without what a launcher around the tests may have left in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHER_PREFIXES)}
    return kept | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def ranks(clean_env: dict[str, str]) -> Iterator[Attempt]:
    """Run ranks once, as `ranks.attempt` describes it, and return what came of them."""
    program = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ranks.py"))],
        env=clean_env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None
    assert program.stdout is not None

    def attempt(folder: Path, **task: Any) -> dict[str, Any]:
        task = {"world": 2, "workers": 0, "loader": {"batch_size": 8}, "epochs": 2} | task
        print(json.dumps({"folder": str(folder), **task}), file=program.stdin, flush=True)
        answer: dict[str, Any] = json.loads(program.stdout.readline())
        return answer

    try:
        yield attempt
    finally:
        program.stdin.close()
        program.wait(timeout=30)
        program.stdout.close()
