"""Nodes whose HCAs have other numbers, and one whose rails differ: who starts, and what is said."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from slurmkit.sandbox import Sandbox, SandboxUnavailableError

pytestmark = pytest.mark.slurm
SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
_STEP = ("srun", "--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2")
_PROGRAM = ("sh", "-c", "echo started $RANK $UCX_NET_DEVICES")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    """Two scaled DGX H100 nodes; node2 has the numbers of its HCAs in reverse order."""
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    try:
        sandbox = Sandbox.up(
            f"test-rails-{os.getpid()}",
            nodes=2,
            profile="dgx-h100",
            scale=True,
            gpus=2,
            renumber=True,
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    with sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def crossed(cluster: Sandbox) -> Iterator[Sandbox]:
    """The same with the port of node2's second compute HCA down."""
    hcas = cluster.layout.hardware_of("node2") / "sys/class/infiniband"
    (hca,) = (link for link in hcas.iterdir() if "/0000:9a:00.0/" in str(link.readlink()))
    state = hca / "ports/1/state"  # profiles leave it out, and what is not known counts as up
    cluster.kill("node2")  # a node mounts its files when it starts
    state.write_text("1: DOWN\n")
    cluster.heal("node2")
    yield cluster
    cluster.kill("node2")
    state.unlink()
    cluster.heal("node2")


def run(cluster: Sandbox, *command: str, **env: str) -> "CompletedProcess[str]":
    home = {"HOME": str(cluster.shared_dir)}
    return cluster.exec("login", command, cwd=cluster.shared_dir, env=home | env, timeout=60)


def started(done: "CompletedProcess[str]") -> dict[int, str]:
    """The NIC of each rank that started."""
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("started")]
    return {int(rank): nic for _, rank, nic in lines}


def test_ranks_on_the_same_rails_by_other_names_start(cluster: Sandbox) -> None:
    done = run(cluster, *_STEP, SLURMKIT, "exec", "--", *_PROGRAM, SLURMKIT_AFFINITY="strict")
    assert (done.returncode, done.stderr) == (0, "")
    nics = started(done)
    assert (nics[0], nics[1]) == ("mlx5_0:1", "mlx5_6:1")
    assert {nics[0], nics[1]}.isdisjoint({nics[2], nics[3]})


def test_strict_starts_nobody_where_rails_differ(crossed: Sandbox) -> None:
    done = run(crossed, *_STEP, SLURMKIT, "exec", "--", *_PROGRAM, SLURMKIT_AFFINITY="strict")
    assert done.returncode == 1
    assert started(done) == {}
    said = [line for line in done.stderr.splitlines() if line.startswith("slurmkit: error")]
    assert len(said) == 1, done.stderr
    assert "node1 and node2: local rank 1: expected NICs on the same rails" in said[0]
    assert "mlx5_6 on rail 1 on node1" in said[0]
    assert "on rail 0 on node2" in said[0]


def test_warn_tells_and_starts(crossed: Sandbox) -> None:
    done = run(crossed, *_STEP, SLURMKIT, "exec", "--", *_PROGRAM, SLURMKIT_AFFINITY="warn")
    assert done.returncode == 0
    assert sorted(started(done)) == [0, 1, 2, 3]
    assert "warning: affinity: node1 and node2: local rank 1: expected NICs" in done.stderr


def test_ranks_of_mpirun_are_compared_too(crossed: Sandbox) -> None:
    script = crossed.shared_dir / "mpi.sh"
    # Open MPI leaves the choice of GPUs to the program: nobody sets the variable on other nodes.
    script.write_text(
        f"""#!/bin/sh
#SBATCH --nodes=2 --ntasks-per-node=2 --gpus-per-node=2 --time=2 --output=mpi.out
export SLURMKIT_AFFINITY=strict CUDA_VISIBLE_DEVICES=0,1 HOME={crossed.shared_dir}
mpirun --allow-run-as-root --bind-to none {SLURMKIT} exec -- \\
  {" ".join(_PROGRAM[:2])} '{_PROGRAM[2]}'
"""
    )
    done = run(crossed, "sbatch", "--wait", str(script))
    said = (crossed.shared_dir / "mpi.out").read_text()
    assert done.returncode != 0, said
    assert "started" not in said
    assert "affinity: node1 and node2: local rank 1: expected NICs on the same rails" in said
