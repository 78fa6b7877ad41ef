"""What the planner makes of programs: their environment, launcher, paths and software."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmkit.limits import Limits
from slurmkit.plan.model import Plan, Variable

_PLANS = runpy.run_path(str(Path(__file__).with_name("plans.py")))
_plan: Callable[..., Plan] = _PLANS["plan"]
_limits: Callable[..., Limits] = _PLANS["limits"]


def test_environment_layers_the_job_wins() -> None:
    site = {
        "env": {"A": "site", "B": "site", "OMP_NUM_THREADS": "2"},
        "env_presets": {"nccl": {"B": "preset", "C": "preset"}, "ucx": {"D": "ucx"}},
        "presets_for": {"torch": ["nccl"]},
    }
    job = {"launch": {"kind": "torch", "command": ["x"]}, "env": {"C": "job", "E": "job"}}
    env = dict(_plan(job, site).env)
    assert {name: env[name] for name in "ABCE"} == {
        "A": "site",
        "B": "preset",
        "C": "job",
        "E": "job",
    }
    assert "D" not in env
    assert env["OMP_NUM_THREADS"] == "2"
    assert env["PYTHONUNBUFFERED"] == "1"
    assert "PYTHONUNBUFFERED" not in dict(_plan({}).env)


@pytest.mark.parametrize(
    ("kind", "launcher", "wanted", "site", "plugins", "expected"),
    [
        ("torch", "srun", "auto", "pmix", {"pmix"}, "none"),
        ("torch", "srun", "pmi2", "auto", set(), "pmi2"),
        ("command", "srun", "auto", "pmix", {"pmix"}, ""),
        # Its own MPI decides, which only the script can ask.
        ("mpi", "srun", "auto", "auto", {"none", "pmi2", "pmix", "pmix_v4"}, "auto"),
        ("mpi", "srun", "auto", "auto", {"none", "pmi2"}, "auto"),
        ("mpi", "srun", "auto", "pmi2", {"pmix"}, "pmi2"),
        ("mpi", "srun", "none", "pmi2", {"pmix"}, "none"),
        ("mpi", "srun", "auto", "auto", set(), "auto"),
        ("mpi", "mpirun", "auto", "auto", {"pmix"}, ""),
    ],
)
def test_mpi_plugin(
    kind: str, launcher: str, wanted: str, site: str, plugins: set[str], expected: str
) -> None:
    launch = {"kind": kind, "launcher": launcher, "mpi": wanted, "command": ["x"]}
    plan = _plan({"launch": launch}, {"mpi": site}, _limits(frozenset(plugins)))
    assert plan.step.mpi == expected
    options = ["".join(map(str, word)) for word in plan.step.srun]
    said = [option for option in options if option.startswith("--mpi")]
    assert said == ([f"--mpi={expected}"] if expected not in ("", "auto") else said[:1])
    assert bool(said) == bool(expected)


def test_a_step_says_all_its_sizes_and_leaves_the_spares() -> None:
    resources = {"nodes": 3, "spares": 2, "tasks_per_node": 4, "cpus_per_task": 6}
    plan = _plan({"resources": resources})
    lines = {line.option: line.value for line in plan.directives}
    assert lines["--nodes"] == "5"
    sizes = {("--nodes=3",), ("--ntasks=12",), ("--ntasks-per-node=4",), ("--cpus-per-task=6",)}
    assert sizes | {("--relative=0",), ("--kill-on-bad-exit=1",)} <= set(plan.step.srun)


def test_torchrun_gets_one_task_per_node_with_all_cpus_in_job_and_step() -> None:
    resources = {"nodes": 3, "gpus_per_node": 4, "cpus_per_task": 6}
    launch = {"kind": "torch", "launcher": "torchrun", "command": ["python", "t.py"]}
    plan = _plan({"resources": resources, "launch": launch})
    lines = {line.option: line.value for line in plan.directives}
    assert (lines["--ntasks-per-node"], lines["--cpus-per-task"]) == ("1", "24")
    assert {("--ntasks=3",), ("--ntasks-per-node=1",), ("--cpus-per-task=24",)} <= set(
        plan.step.srun
    )
    assert plan.shape.num_tasks == 12


@pytest.mark.parametrize(
    ("command", "is_python", "is_script"),
    [
        (["python", "train.py"], True, True),
        (["/opt/py/bin/python3.11", "train.py"], True, True),
        (["python3", "-m", "train"], True, True),
        (["python", "-u", "train.py"], True, False),
        (["python", "-c", "pass"], True, False),
        (["python"], True, False),
        (["pythonic", "x"], False, False),
        (["./train"], False, False),
    ],
)
def test_python_programs_are_told_from_others(
    command: list[str], is_python: bool, is_script: bool
) -> None:
    launch = {"kind": "torch", "launcher": "torchrun", "command": command}
    step = _plan({"launch": launch}).step
    assert (step.is_python, step.is_script) == (is_python, is_script)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("venv", ("/home/ada/job/venv",)),
        ("../v/./x/", ("/home/ada/v/x",)),
        ("/opt/v", ("/opt/v",)),
        ("~/v", (Variable("HOME"), "/v")),
        ("~", (Variable("HOME"),)),
    ],
)
def test_paths_start_at_the_job_file(path: str, word: tuple[str | Variable, ...]) -> None:
    plan = _plan({"software": {"venv": path}, "launch": {"command": ["x"], "workdir": path}})
    assert plan.software.venv == plan.workdir == word


def test_conda_names_and_folders_are_told_apart() -> None:
    assert _plan({"software": {"conda": "base"}}).software.conda == ("base",)
    assert _plan({"software": {"conda": "./e"}}).software.conda == ("/home/ada/job/e",)


@pytest.mark.parametrize(
    ("image", "word"),
    [
        ("a.sif", "/home/ada/job/a.sif"),
        ("./a", "/home/ada/job/a"),
        ("/i/a.sqsh", "/i/a.sqsh"),
        ("docker://x/y.sif", "docker://x/y.sif"),
        ("nvcr.io#nvidia/pytorch:24.10-py3", "nvcr.io#nvidia/pytorch:24.10-py3"),
        ("library/ubuntu", "library/ubuntu"),
    ],
)
def test_images_are_files_or_names(image: str, word: str) -> None:
    job = {"software": {"container": {"image": image}}}
    container = _plan(job, {"container_runtime": "pyxis"}).container
    assert container is not None
    assert container.image == (word,)


def test_working_folder_and_run_directory_are_mounted_unless_the_job_does() -> None:
    job: dict[str, Any] = {"software": {"container": {"image": "a.sif", "runtime": "apptainer"}}}
    run_dir = Variable("SLURMKIT_RUN_DIR")
    container = _plan(job).container
    assert container is not None
    assert container.mounts == (("/home/ada/job:/home/ada/job",), (run_dir, ":", run_dir))
    job["software"]["container"]["mounts"] = ["src:/home/ada/job:ro", "~/d:/d"]
    container = _plan(job, portable=True).container
    assert container is not None
    assert container.mounts == (
        ("/home/ada/job/src:/home/ada/job:ro",),
        (Variable("HOME"), "/d:/d"),
    )
