"""The two hello programs, and what all starters' YAML files have in common."""

import re
import shutil
import subprocess
import sys

import pytest

import slurmkit
from slurmkit.resources import shipped_dir

STARTERS = shipped_dir("templates") / "starters"
YAML_FILES = sorted(STARTERS.glob("*/*.yaml"))
PLACE = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "NODE_RANK": "1",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "23456",
}


def hello(env):
    # -I -S: neither site-packages nor anything around it, as on a bare compute node
    command = [sys.executable, "-I", "-S", STARTERS / "hello-ranks" / "hello.py"]
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)


def test_hello_ranks_tells_its_place():
    done = hello(PLACE | {"GREETING": "grüße"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("grüße from rank 3 of 4: node 1 (")
    assert "local rank 1 of 2, cpus " in done.stdout
    assert done.stdout.endswith("gpus none, meeting at node1:23456\n")


def test_hello_ranks_without_a_launcher_says_how_to_start_it():
    done = hello({key: value for key, value in PLACE.items() if key != "MASTER_ADDR"})
    assert done.returncode == 2
    assert done.stderr.startswith("hello.py: MASTER_ADDR not set: start me through `slurmkit")


@pytest.fixture(scope="module")
def mpi_hello(tmp_path_factory):
    for program in ("mpicc", "mpirun"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    binary = tmp_path_factory.mktemp("mpi") / "hello"
    source = STARTERS / "hello-mpi" / "hello.c"
    subprocess.run(
        ["mpicc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", binary, source], check=True
    )
    return binary


def mpirun(program, env):
    # Open MPI's own words for "yes, as root, and with more ranks than cores"; others ignore them.
    allowed = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
    command = ["mpirun", "-n", "3", program]
    env |= allowed
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=90)


def test_hello_mpi_adds_up_over_all_ranks(mpi_hello, clean_env):
    done = mpirun(mpi_hello, clean_env)
    assert done.returncode == 0, done.stderr
    for rank in range(3):
        assert f"rank {rank} of 3 on " in done.stdout
    assert "MPI_Allreduce over 3 ranks: 6, as it should be\n" in done.stdout


@pytest.mark.parametrize("count", [{"SLURM_NTASKS": "4"}, {"WORLD_SIZE": "4"}])
def test_hello_mpi_finds_a_world_that_is_not_what_was_started(mpi_hello, clean_env, count):
    done = mpirun(mpi_hello, clean_env | count)
    assert done.returncode != 0
    assert "4 tasks were started, but MPI sees a world of 3" in done.stderr
    assert "as it should be" not in done.stdout


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.stem)
def test_every_starter_is_a_valid_job(path):
    job = slurmkit.load(path)
    assert job.spec.name == path.stem == path.parent.name
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=./job.schema.json"
    assert all(len(line) <= 100 for line in path.read_text().splitlines())
    for argument in job.spec.launch.command:
        if argument.endswith((".py", ".sh")):
            assert (path.parent / argument).is_file()


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.stem)
def test_what_the_comments_teach_is_valid_too(path, tmp_path):
    """Take the '#' from every line that is an option; the others are prose."""
    option = re.compile(r"^( *)# ( *(?:[A-Za-z_]+:|- --).*)$", re.M)
    text, taught = option.subn(r"\1\2", path.read_text())
    assert taught > 0
    (tmp_path / path.name).write_text(text)
    spec = slurmkit.load(tmp_path / path.name).spec
    assert spec.resources.partition or spec.resources.gpus_per_node
