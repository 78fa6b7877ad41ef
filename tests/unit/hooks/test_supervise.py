"""Hooks of a whole job: found once by ``slurmkit supervise``, named to the tasks, told the end."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")

Install = Callable[..., Path]
PAGE = Path(__file__).parents[3] / "docs/how-to/hooks.md"

_NOTES = """
from slurmkit.hooks import hookimpl
@hookimpl
def task_exit(task): print("task", task.rank, task.host, task.exit_code, task.reason, flush=True)
@hookimpl
def job_exit(job): print("job", job.exit_code, job.attempt, job.num_failed_tasks, flush=True)
"""
_FAILS = """
import sys
from slurmkit.hooks import hookimpl
@hookimpl
def job_exit(job): sys.exit(9)
"""


def _supervise(
    folder: Path, script: str, packages: Path, **env: str
) -> "subprocess.CompletedProcess[str]":
    base = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    return subprocess.run(
        [sys.executable, "-m", "slurmkit", "supervise", str(folder), "--", "bash", "-c", script],
        env={**base, "PYTHONPATH": str(packages), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_installed_hooks_reach_the_tasks_and_see_the_end(install: Install, tmp_path: Path) -> None:
    install("notes", _NOTES)
    packages = install("fails", _FAILS)
    script = (
        'echo "0: hooks $SLURMKIT_HOOKS"; echo "1: ValueError: bad"; '
        'echo "srun: error: node2: task 1: Exited with exit code 3"; exit 3'
    )
    done = _supervise(tmp_path / "run", script, packages)
    assert done.returncode == 3
    assert "[rank 0] hooks fails,notes\n" in done.stdout
    assert done.stdout.endswith("task 1 node2 3 ValueError: bad\njob 3 1 1\n")
    assert "the hook fails failed in job_exit: SystemExit: 9" in done.stderr


def test_a_failing_exit_hook_leaves_a_good_job_good(install: Install, tmp_path: Path) -> None:
    done = _supervise(tmp_path / "run", "true", install("fails", _FAILS))
    assert done.returncode == 0
    assert "the hook fails failed in job_exit" in done.stderr
    done = _supervise(tmp_path / "run", "true", tmp_path, SLURMKIT_HOOKS="nowhere")
    assert done.returncode == 0
    assert "the hook nowhere cannot be loaded" in done.stderr


def test_set_to_nothing_there_are_none(install: Install, tmp_path: Path) -> None:
    packages = install("fails", _FAILS)
    done = _supervise(tmp_path / "run", "true", packages, SLURMKIT_HOOKS="")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_documented_package(install: Install, tmp_path: Path) -> None:
    blocks = dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE.read_text(), re.DOTALL))
    (entry,) = tomllib.loads(blocks["pyproject.toml"])["project"]["entry-points"][
        "slurmkit.hooks"
    ].values()
    packages = install("site_checks", blocks["site_checks.py"], entry)
    task = (
        "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 "
        "SLURM_STEP_NUM_TASKS=1 SLURM_STEP_NUM_NODES=1 SLURM_STEP_TASKS_PER_NODE=1 "
        "SLURM_STEP_NODELIST=node1 SLURMD_NODENAME=node1"
    )
    script = f"{task} {sys.executable} -m slurmkit exec -- sh -c 'echo \"0: $TMPDIR\"' 2>&1"
    scratch = tmp_path / "scratch"
    run = tmp_path / "run"
    refused = _supervise(run, script, packages, SITE_SCRATCH=str(scratch))
    assert refused.returncode == 1
    why = f"RuntimeError: {scratch} is not mounted or not writable"
    assert f"node1: rank 0: the hook site_checks failed in node_init: {why}" in refused.stdout
    assert (run / "failures.txt").read_text().startswith("local attempt 1: ")
    scratch.mkdir()
    good = _supervise(run, script, packages, SITE_SCRATCH=str(scratch))
    assert good.returncode == 0, good.stdout + good.stderr
    assert f"[rank 0] {scratch}/rank-0\n" in good.stdout
