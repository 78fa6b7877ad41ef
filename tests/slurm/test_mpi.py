"""MPI programs through slurmkit, with this machine's Open MPI 4.1 and MPICH 4.0."""

import json
import os
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox

_SPEC = util.spec_from_file_location("mpi_desk", Path(__file__).with_name("mpi_desk.py"))
assert _SPEC
assert _SPEC.loader
mpi_desk = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mpi_desk)

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def desk(cluster: Sandbox) -> Iterator[Any]:
    folder = cluster.shared_dir / f"mpi-{os.getpid()}"
    folder.mkdir()
    yield mpi_desk.Desk(cluster, folder, mpi_desk.build(folder))
    cluster.exec("login", ["scancel", "--user=root"], timeout=30)


@pytest.mark.parametrize(
    ("family", "launcher", "nodes", "why"),
    [
        ("openmpi", "srun", 2, "Open MPI 4.1.4 speaks PMIx, which srun --mpi=pmix serves"),
        ("openmpi", "mpirun", 4, "Open MPI 4.1.4 is started by"),
        ("mpich", "srun", 4, "MPICH 4.0.2 speaks PMI-2, which srun --mpi=pmi2 serves"),
        ("mpich", "mpirun", 2, "MPICH 4.0.2 is started by"),
    ],
)
def test_ranks_meet(desk: Any, family: str, launcher: str, nodes: int, why: str) -> None:
    launch = {"launcher": launcher, "command": [str(desk.programs[family])]}
    name = f"{family}-{launcher}"
    hangs = family == "mpich"
    result = (desk.until_summed if hangs else desk.run)(name, launch, nodes)
    mpi_desk.check_world(result, 2 * nodes)
    assert why in result.said


@pytest.mark.parametrize(
    ("family", "plugin", "fits"),
    [
        ("openmpi", "pmi2", "pmix"),
        ("mpich", "pmix", "pmi2"),
        pytest.param("mpich", "none", "pmi2", marks=pytest.mark.long),
    ],
)
def test_a_plugin_that_the_mpi_cannot_use_ends_the_job_at_once(
    desk: Any, family: str, plugin: str, fits: str
) -> None:
    """Lines under setup may bring another MPI, so that only the job itself can see it."""
    launch = {"mpi": plugin, "command": [str(desk.programs[family])]}
    result = desk.run(f"wrong-{family}-{plugin}", launch, software={"setup": ["true"]})
    mpi_desk.check_refused(result, "cannot use", f"plugin {plugin}", "4 ranks")
    assert result.run_dir is not None
    assert f"write launch.mpi: {fits}" in result.said
    assert "rank 0 of 1" not in result.said


def test_silent_singletons_behind_a_script_end_the_job(desk: Any) -> None:
    """Nobody can see through the script, so the guard looks after MPI_Init."""
    command = ["bash", "-c", f"{desk.programs['mpich']}; true"]
    result = desk.run("singletons", {"mpi": "pmix", "command": command})
    assert "rank 0 of 1" not in result.said
    said = [line for line in result.said.splitlines() if "sees a world of 1" in line]
    assert len(said) == 1, result.said
    assert "4 ranks were started" in said[0]


def test_another_mpis_mpirun_is_found_out_in_each_rank(desk: Any) -> None:
    """A script of somebody's own: Open MPI's mpirun starts a program of MPICH."""
    script = desk.folder / "foreign.sh"
    script.write_text(
        "#!/bin/bash\n#SBATCH --nodes=2 --ntasks-per-node=2 --output=foreign.out --time=1\n"
        "export SLURMKIT_MPI=mpirun SLURMKIT_MPI_SPEAKS=pmi2,pmi1\n"
        f"mpirun.openmpi --allow-run-as-root {mpi_desk.BIN}/slurmkit exec --"
        f" {desk.programs['mpich']}\n"
    )
    done = desk.cluster.exec("login", ["sbatch", "-W", script], cwd=desk.folder, timeout=60)
    said = (desk.folder / "foreign.out").read_text()
    assert done.returncode != 0
    assert said.count("would not meet: its MPI speaks PMI-2 or PMI-1") == 1, said
    assert "rank 0 of 1" not in said


def test_a_library_that_is_missing_is_named(desk: Any) -> None:
    """As when a module was forgotten: the dynamic linker would say so on every rank."""
    program = desk.folder / "hello-missing"
    text = desk.programs["openmpi"].read_bytes().replace(b"libmpi.so.40", b"libmpi.so.99")
    program.write_bytes(text)
    program.chmod(0o755)
    result = desk.run("missing", {"command": ["./hello-missing"]})
    mpi_desk.check_refused(result, "MPI: ./hello-missing needs libmpi.so.99", "not found on node")


def test_check_says_so_before_anything_is_submitted(desk: Any) -> None:
    job = {
        "name": "early",
        "resources": {"nodes": 2, "tasks_per_node": 2, "time": "1m"},
        "launch": {"kind": "mpi", "mpi": "pmix", "command": [str(desk.programs["mpich"])]},
    }
    (desk.folder / "early.yaml").write_text(json.dumps(job))
    done = desk.slurmkit("check", "early.yaml")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "MPICH 4.0.2 cannot use Slurm's plugin pmix" in done.stdout + done.stderr


def test_what_fits_is_shown_to_people_and_programs(desk: Any) -> None:
    text = desk.slurmkit("mpi", desk.programs["mpich"]).stdout
    assert "MPICH 4.0.2 speaks PMI-2, which srun --mpi=pmi2 serves" in text
    shown = json.loads(desk.slurmkit("mpi", "--json", desk.programs["openmpi"]).stdout)
    assert shown["plugin"] == "pmix"
    assert shown["mpi"]["family"] == "openmpi"
    assert shown["mpi"]["certain"] is True


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("hello-mpi", marks=pytest.mark.long),
        pytest.param("heat-mpi", marks=pytest.mark.long),  # see tests/faults/test_faults_mpi.py
        "mpi4py-sgd",
    ],
)
def test_a_starter_runs_as_it_comes(desk: Any, name: str) -> None:
    if name == "mpi4py-sgd":
        pytest.importorskip("mpi4py")
    done = desk.slurmkit("init", name)
    assert done.returncode == 0, done.stderr
    result = desk.submit(name, "--set", "env.OMPI_MCA_mpi_yield_when_idle=1")
    assert result.code == 0, result.said
    ending = {
        "hello-mpi": "MPI_Allreduce over 4 ranks: 10",
        "heat-mpi": "done: plate.bin holds the plate after 1000 steps",
        "mpi4py-sgd": "done: weights ",
    }[name]
    assert ending in result.said
