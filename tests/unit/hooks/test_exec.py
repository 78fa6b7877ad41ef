"""Hooks before a task: real processes of ``slurmkit exec`` with real modules."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., Path]

_TASK = {
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
_HEAD = "from slurmkit.hooks import hookimpl\nfrom slurmkit.errors import SlurmkitError\n"


def _exec(
    *program: str, rank: int = 0, python: tuple[str, ...] = (), **env: str
) -> "subprocess.CompletedProcess[str]":
    place = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, *python, "-m", "slurmkit", "exec", "--", *program],
        env={**_TASK, **place, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_hook_changes_the_environment(install: Install) -> None:
    body = """
@hookimpl
def node_init(task): print("node", task.host, flush=True)
@hookimpl
def task_init(task):
    return {"SEEN": f"{task.rank} {task.local_rank} {task.world_size} {task.node_rank} "
            + task.environment["RANK"], "GONE": None}
"""
    env = {"PYTHONPATH": str(install("one", _HEAD + body)), "SLURMKIT_HOOKS": "one", "GONE": "x"}
    show = ("sh", "-c", 'echo "$SEEN ${GONE-gone}"')
    assert _exec(*show, **env).stdout == "node node1\n0 0 2 0 0 gone\n"
    assert _exec(*show, rank=1, **env).stdout == "1 1 2 0 1 gone\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('no\\nlink')", "failed in task_init: RuntimeError: no link"),
        ("raise SlurmkitError('no link', hint='mend it')", "task_init: no link (mend it)"),
        ("raise SystemExit(0)", "failed in task_init: SystemExit: 0"),
        ("return {'RANK': '3'}", "may not set RANK: slurmkit sets it for every task"),
        ("return {'A=B': '3'}", "'A=B' is no name of a variable"),
        ("return {'A': 3}", "the value of A must be text or None, not 3"),
        ("return 'A'", "it returned 'A', no mapping of variables"),
    ],
)
def test_a_refused_task_does_not_start(install: Install, body: str, words: str) -> None:
    text = f"{_HEAD}class Plugin:\n    @hookimpl\n    def task_init(self, task):\n        {body}\n"
    folder = install("two", text)
    done = _exec("echo", "ran", rank=1, PYTHONPATH=str(folder), SLURMKIT_HOOKS="two:Plugin")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("slurmkit: error: node1: rank 1: the hook two:Plugin failed in ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"),
        (_HEAD + "@hookimpl\ndef task_begin(task): pass\n", "unknown hook 'task_begin'"),
        (_HEAD + "@hookimpl\ndef task_init(job): pass\n", "'job'"),
    ],
)
def test_a_hook_that_cannot_be_loaded_is_named(install: Install, text: str, words: str) -> None:
    env = {"PYTHONPATH": str(install("three", text)), "SLURMKIT_HOOKS": "three"}
    done = _exec("echo", "ran", rank=1, **env)
    assert (done.returncode, done.stdout) == (1, "")
    assert "node1: rank 1: the hook three cannot be loaded: " in done.stderr
    assert words in done.stderr


def test_missing_pluggy_is_explained(tmp_path: Path) -> None:
    (tmp_path / "pluggy.py").write_text("raise ModuleNotFoundError('gone', name='pluggy')\n")
    done = _exec("echo", "ran", PYTHONPATH=str(tmp_path), SLURMKIT_HOOKS="four")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'slurmkit[hooks]'" in done.stderr


def test_a_task_without_hooks_imports_none_of_it(install: Install) -> None:
    folder = install("five", "raise RuntimeError\n")  # installed, and the job does not name it
    for value in ({}, {"SLURMKIT_HOOKS": ""}):
        done = _exec("true", python=("-X", "importtime"), PYTHONPATH=str(folder), **value)
        assert done.returncode == 0
        assert "slurmkit.launch.main" in done.stderr
        for name in ("slurmkit.hooks", "pluggy", "importlib.metadata"):
            assert name not in done.stderr


def test_a_full_node_is_refused_once_per_node() -> None:
    assert _exec("echo", "ran", SLURMKIT_MIN_FREE="/tmp=1M").stdout == "ran\n"
    done = _exec("echo", "ran", SLURMKIT_MIN_FREE="/=1M, /tmp=900000T")
    assert (done.returncode, done.stdout) == (1, "")
    assert "node1: rank 0: the hook slurmkit.hooks.free_space failed in node_init" in done.stderr
    assert "SLURMKIT_MIN_FREE asks for 900000T" in done.stderr
    assert "--exclude=node1" in done.stderr
    assert _exec("echo", "ran", rank=1, SLURMKIT_MIN_FREE="/tmp=900000T").stdout == "ran\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [("8G", "expected FOLDER=SIZE"), ("/tmp=much", "much"), ("/no/such=1M", "/no/such: No such")],
)
def test_a_wrong_min_free_is_explained(value: str, words: str) -> None:
    done = _exec("echo", "ran", SLURMKIT_MIN_FREE=value)
    assert done.returncode == 1
    assert words in done.stderr
