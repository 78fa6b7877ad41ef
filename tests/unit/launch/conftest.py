"""A task's environment as srun makes it, and slurmkit as a real process in it."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def task_env() -> dict[str, str]:
    """Task 0 of 2 on one node, with a rendezvous that a supervisor has chosen."""
    return {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURM_STEP_NODELIST": "node1",
        "SLURMD_NODENAME": "node1",
        "MASTER_ADDR": "node1",
        "MASTER_PORT": "17000",
        "SLURMKIT_RENDEZVOUS_HOST": "node1",
    }


@pytest.fixture
def run_exec(tmp_path: Path) -> Run:
    """Run ``slurmkit exec`` with these arguments in exactly this environment."""

    def run(
        *args: str | bytes, env: Mapping[str, str | bytes], cwd: Path = tmp_path
    ) -> "subprocess.CompletedProcess[bytes]":
        base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
        return subprocess.run(
            [sys.executable, "-m", "slurmkit", "exec", *args],
            env={**base, **env},
            cwd=cwd,
            capture_output=True,
            check=False,
            timeout=60,
        )

    return run
