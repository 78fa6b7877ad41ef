"""`slurmkit run`: the whole command, on this machine, with real processes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))


class Desk:
    """A folder with a run root of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self, spec: str, *args: str, code: int = 0, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        (self.folder / "job.yaml").write_text(spec)
        done = subprocess.run(
            [SLURMKIT, "run", "job.yaml", *args],
            cwd=self.folder,
            env={**os.environ, "SLURMKIT_RUN_ROOT": str(self.folder / "runs"), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def status(self, name: str) -> Any:
        done = subprocess.run(
            [SLURMKIT, "status", name, "--json"],
            env={**os.environ, "SLURMKIT_RUN_ROOT": str(self.folder / "runs")},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return json.loads(done.stdout)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_ranks_see_what_they_would_see_on_a_cluster(desk: Desk) -> None:
    done = desk.run(
        "name: hello\nresources: {nodes: 2, tasks_per_node: 2}\nenv: {GREETING: 'a, b'}\n"
        "launch: {kind: torch, command: [sh, -c, 'echo $GREETING $RANK $WORLD_SIZE $LOCAL_RANK"
        " $NODE_RANK']}\n"
    )
    assert sorted(done.stdout.splitlines()) == [
        f"[rank {rank}] a, b {rank} 4 {rank % 2} {rank // 2}" for rank in range(4)
    ]
    status = desk.status("hello")
    assert (status["state"], status["job_id"]) == ("COMPLETED", "")


def test_setup_lines_run_once_and_their_environment_reaches_the_ranks(desk: Desk) -> None:
    done = desk.run(
        "name: setup\nresources: {tasks_per_node: 2}\n"
        "software:\n  setup:\n    - echo once >> count\n    - export FROM_SETUP='x  y'\n"
        "launch: {command: [sh, -c, 'echo \"$FROM_SETUP\"']}\n"
    )
    assert sorted(done.stdout.splitlines()) == ["[rank 0] x  y", "[rank 1] x  y"]
    assert (desk.folder / "count").read_text() == "once\n"


def test_a_setup_line_that_fails_ends_the_run_before_it_starts(desk: Desk) -> None:
    done = desk.run(
        "name: setup\nsoftware: {setup: [ls no-such-file]}\nlaunch: {command: [echo, never]}\n",
        code=1,
    )
    assert "never" not in done.stdout
    assert "preparing the software failed" in done.stderr


def test_a_failing_rank_is_named(desk: Desk) -> None:
    done = desk.run(
        "name: fails\nresources: {tasks_per_node: 2}\n"
        "launch: {kind: torch, command: "
        "[sh, -c, 'test $RANK = 0 && sleep 30; echo no luck; exit 5']}\n",
        code=1,
    )
    assert "rank 1" in done.stderr
    assert "exited with code 5" in done.stderr
    failure = desk.status("fails")["elements"][0]["failure"]
    assert (failure["rank"], failure["exit_code"], failure["reason"]) == (1, 5, "no luck")


def test_secrets_reach_the_ranks_and_no_file(desk: Desk) -> None:
    done = desk.run(
        "name: secret\nsecrets: [API_TOKEN]\n"
        "launch: {command: [sh, -c, 'printf %s \"$API_TOKEN\" | sha256sum']}\n",
        API_TOKEN="hush-Qx7",
    )
    assert done.stdout.startswith(f"[rank 0] {hashlib.sha256(b'hush-Qx7').hexdigest()}")
    files = [path for path in (desk.folder / "runs").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"hush-Qx7" in path.read_bytes()]


def test_one_element_of_a_sweep(desk: Desk) -> None:
    spec = (
        "name: sweep\nsweep: {lr: [0.1, 0.2], seed: [1, 2]}\n"
        "launch: {command: [sh, -c, 'echo $1 $SWEEP_SEED', _, 'lr={sweep.lr}']}\n"
    )
    assert desk.run(spec, "--task", "2").stdout == "[rank 0] lr=0.2 1\n"
    assert "choose it by --task" in desk.run(spec, code=2).stderr
    assert "the last one is 3" in desk.run(spec, "--task", "4", code=2).stderr


def test_what_one_machine_does_not_have_is_refused(desk: Desk) -> None:
    done = desk.run(
        "name: box\nsoftware: {container: {image: a.sif, runtime: apptainer}}\n"
        "launch: {command: [hostname]}\n",
        code=2,
    )
    assert "job.yaml:2:" in done.stderr
    assert "no containers" in done.stderr


@pytest.mark.skipif(shutil.which("mpicc") is None, reason="there is no MPI compiler")
def test_mpi_programs_are_one_world(desk: Desk) -> None:
    subprocess.run([SLURMKIT, "init", "hello-mpi", desk.folder], check=True, capture_output=True)
    spec = (desk.folder / "hello-mpi.yaml").read_text()
    done = desk.run(spec)
    assert "[rank 0] MPI_Allreduce over 4 ranks: 10, as it should be" in done.stdout
    assert "[rank 3] rank 3 of 4" in done.stdout


def test_an_mpi_job_without_mpi_says_what_is_missing(desk: Desk) -> None:
    empty = desk.folder / "bin"
    empty.mkdir()
    for program in ("bash", "env", "git", "sh"):
        found = shutil.which(program)
        assert found
        (empty / program).symlink_to(found)
    done = desk.run("name: m\nlaunch: {kind: mpi, command: [./hello]}\n", code=1, PATH=str(empty))
    assert "there is no mpirun on PATH" in done.stderr


@pytest.mark.skipif(shutil.which("mpicc.mpich") is None, reason="MPICH's compiler is not here")
def test_the_mpirun_is_that_of_the_programs_own_mpi(desk: Desk) -> None:
    """Open MPI's would start three worlds of one rank."""
    source = desk.folder / "hello.c"
    subprocess.run([SLURMKIT, "init", "hello-mpi", desk.folder], check=True, capture_output=True)
    subprocess.run(["mpicc.mpich", "-o", desk.folder / "hello", source], check=True)
    done = desk.run(
        "name: m\nresources: {nodes: 3}\n"
        "launch: {kind: mpi, launcher: mpirun, command: [./hello]}\n"
    )
    assert "[rank 0] MPI_Allreduce over 3 ranks: 6, as it should be" in done.stdout


@pytest.mark.skipif(shutil.which("mpicc") is None, reason="there is no MPI compiler")
@pytest.mark.parametrize(
    ("name", "last"), [("heat-mpi", "after 60 steps"), ("mpi4py-sgd", "done: weights")]
)
def test_a_starter_that_saves_runs_here_too(desk: Desk, name: str, last: str) -> None:
    if name == "mpi4py-sgd":
        pytest.importorskip("mpi4py")
    subprocess.run([SLURMKIT, "init", name, desk.folder], check=True, capture_output=True)
    text = (desk.folder / f"{name}.yaml").read_text()
    text = text.replace('"256", "1000"', '"32", "60"').replace("--steps=400", "--steps=60")
    text = text.replace("every: 250 steps", "every: 20 steps").replace("every: 50", "every: 20")
    done = desk.run(text, PATH=f"{Path(SLURMKIT).parent}:{os.environ['PATH']}")
    assert last in done.stdout
    found = sorted(path.parent.name for path in desk.folder.rglob("step-*/manifest.json"))
    assert found == ["step-0000000040", "step-0000000060"], done.stdout
