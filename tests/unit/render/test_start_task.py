"""The shell lines that stand in for slurmkit exec set the same variables."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.launch.placement import detect
from slurmkit.launch.variables import task_variables

_STEP = {
    "SLURM_JOB_ID": "17",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_NTASKS": "12",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
    "PATH": "/usr/bin:/bin",
}


def _start_task(script: str) -> str:
    return script.split("start_task='")[1].split("'", maxsplit=1)[0]


def _run(text: str, env: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", text, "start-task", *command],
        env=env,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    "plugin",
    [
        {},
        {"SLURM_MPI_TYPE": "none"},
        {"SLURM_MPI_TYPE": "pmix", "PMIX_RANK": "5", "PMIX_NAMESPACE": "slurm.pmix.17.0"},
        {"SLURM_MPI_TYPE": "pmi2", "PMI_RANK": "5", "PMI_FD": "7", "PMI_SIZE": "6"},
    ],
)
@pytest.mark.parametrize("kind", ["torch", "mpi", "command"])
def test_a_portable_task_gets_what_exec_sets(
    script: Callable[..., str], kind: str, plugin: dict[str, str]
) -> None:
    job = {"launch": {"kind": kind, "command": ["x"]}}
    env = _STEP | plugin
    lines = _run(_start_task(script(job, portable=True)), env, "env", "-0").split("\0")[:-1]
    found = dict(line.split("=", 1) for line in lines)
    added = {name: found[name] for name in found.keys() - env.keys() - {"PWD", "SHLVL", "_"}}
    assert added == task_variables(detect(env), env)


def test_arguments_arrive_unchanged_and_a_dash_is_no_option(script: Callable[..., str]) -> None:
    text = _start_task(script({}, portable=True))
    assert _run(text, _STEP, "printf", "%s|", "a b", "", "-n", "$x", "'") == "a b||-n|$x|'|"


def test_secrets_come_from_the_run_directory_into_a_container(
    script: Callable[..., str], tmp_path: Path
) -> None:
    container = {"image": "a.sqsh", "runtime": "pyxis"}
    text = _start_task(script({"secrets": ["TOKEN"], "software": {"container": container}}))
    env = _STEP | {"SLURMKIT_RUN_DIR": str(tmp_path)}
    assert _run(text, env, "sh", "-c", "echo ${TOKEN-none}") == "none\n"
    (tmp_path / "secrets.env").write_text("export TOKEN='a b'\n")
    assert _run(text, env, "sh", "-c", "echo $TOKEN") == "a b\n"


@pytest.mark.parametrize(
    ("command", "first", "last"),
    [
        (["./t", "--lr", "1 2"], "torchrun|--no-python|", "|./t|--lr|1 2|"),
        (["python", "t.py", "1 2"], "python|-m|torch.distributed.run|--nnodes", "|t.py|1 2|"),
        (["python", "-m", "mod"], "python|-m|torch.distributed.run|--nnodes", "|-m|mod|"),
        (
            ["python", "-u", "t.py"],
            "python|-m|torch.distributed.run|--no-python|",
            "|python|-u|t.py|",
        ),
    ],
)
@pytest.mark.parametrize("node", [0, 1])
def test_torchrun_is_told_where_to_meet_and_what_to_run(
    script: Callable[..., str],
    tmp_path: Path,
    command: list[str],
    first: str,
    last: str,
    node: int,
) -> None:
    job = {
        "resources": {"nodes": 3, "tasks_per_node": 2},
        "launch": {"kind": "torch", "launcher": "torchrun", "command": command},
    }
    for name in ("python", "torchrun"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\nprintf \'%s|\' "${0##*/}" "$@"\n')
        program.chmod(0o755)
    env = _STEP | {
        "PATH": f"{tmp_path}:{_STEP['PATH']}",
        "MASTER_ADDR": "n1",
        "MASTER_PORT": "20001",
        "SLURM_NODEID": str(node),
        "SLURMD_NODENAME": f"n{node + 1}",
        "TMPDIR": "/my tmp",
    }
    said = _run(_start_task(script(job)), env, *command)
    options = [
        "--nnodes=3",
        "--nproc-per-node=2",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=n1:20001",
        "--rdzv-id=17",
        f"--rdzv-conf=is_host={int(node == 0)}",
        f"--local-addr=n{node + 1}",
        "--tee=3",
        "--log-dir=/my tmp/torchrun-17",
    ]
    assert "|".join(options) in said
    assert said.startswith(first)
    assert said.endswith(last)
