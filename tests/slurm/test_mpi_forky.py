"""The MPIs of Debian testing, Open MPI 6 and MPICH 5, under its Slurm, which has pmi2 alone."""

import os
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from slurmkit.mpi.guard import build
from slurmkit.sandbox import Sandbox, SandboxUnavailableError

_SPEC = util.spec_from_file_location("mpi_desk", Path(__file__).with_name("mpi_desk.py"))
assert _SPEC
assert _SPEC.loader
mpi_desk = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mpi_desk)

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def desk() -> Iterator[Any]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        cluster = Sandbox.up(
            f"test-mpi-{os.getpid()}",
            nodes=4,
            gpus=0,
            cpus=8,
            release="forky",
            packages=("openmpi-bin", "mpich"),
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no forky sandbox cluster with MPI on this machine: {error.message}")
    try:
        folder = cluster.shared_dir / "mpi"
        folder.mkdir()
        # Built here, as there is no compiler: both keep their ABI over these releases.
        yield mpi_desk.Desk(cluster, folder, mpi_desk.build(folder))
    finally:
        cluster.down()


@pytest.mark.parametrize("nodes", [pytest.param(2, marks=pytest.mark.long), 4])
def test_open_mpi_6_meets_through_its_own_mpirun(desk: Any, nodes: int) -> None:
    launch = {"launcher": "mpirun", "command": [str(desk.programs["openmpi"])]}
    result = desk.run(f"openmpi-{nodes}", launch, nodes)
    mpi_desk.check_world(result, 2 * nodes)
    assert "Open MPI v6" in result.said


def test_open_mpi_6_is_refused_where_slurm_has_no_pmix(desk: Any) -> None:
    command = [str(desk.programs["openmpi"])]
    result = desk.run("refused", {"command": command}, software={"setup": ["true"]})
    mpi_desk.check_refused(result, "Open MPI 6", "needs Slurm's plugin pmix", "pmi2")
    assert "write launcher: mpirun" in result.said
    assert "rank 0 of 1" not in result.said


def test_silent_singletons_of_open_mpi_6_end_the_job(desk: Any) -> None:
    """Behind a script nobody sees the library; open-mpi/ompi issue 13523."""
    guard = build(desk.folder)
    if guard is None:
        pytest.skip("no C compiler on this machine")
    command = ["bash", "-c", f"{desk.programs['openmpi']}; true"]
    setup = {"setup": [f"export SLURMKIT_MPI_GUARD={guard}"]}
    result = desk.run("singletons", {"mpi": "pmi2", "command": command}, software=setup)
    assert "rank 0 of 1" not in result.said
    said = [line for line in result.said.splitlines() if "sees a world of 1" in line]
    assert len(said) == 1, result.said


@pytest.mark.parametrize(
    ("launcher", "nodes"), [("srun", 4), pytest.param("mpirun", 2, marks=pytest.mark.long)]
)
def test_mpich_5_meets(desk: Any, launcher: str, nodes: int) -> None:
    launch = {"launcher": launcher, "command": [str(desk.programs["mpich"])]}
    result = desk.run(f"mpich-{launcher}", launch, nodes)
    mpi_desk.check_world(result, 2 * nodes)
    assert "MPICH Version:" in result.said


def test_mpi4py_meets_through_mpirun(desk: Any) -> None:
    pytest.importorskip("mpi4py")
    # In one write: Hydra puts the rank in front of each.
    program = (
        "import os; from mpi4py import MPI; w = MPI.COMM_WORLD; total = w.allreduce(w.rank);"
        " os.write(1, f'rank {w.rank} of {w.size} on {total}\\n'.encode())"
    )
    result = desk.run("py", {"launcher": "mpirun", "command": ["python", "-c", program]})
    assert result.code == 0, result.said
    assert result.ranks() == [(rank, 4) for rank in range(4)], result.said
