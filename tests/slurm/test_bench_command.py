"""`slurmkit bench` on a cluster: submitted, in an allocation, and a node whose cable is slow."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from slurmkit.sandbox import Sandbox, SandboxError, machine

pytestmark = pytest.mark.slurm
SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
_SLOW = "node3"
_SLOW_BITS = 40e6


@pytest.fixture
def folder(cluster: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = cluster.shared_dir / tmp_path_factory.mktemp("bench").name
    place.mkdir()
    return place


def bench(cluster: Sandbox, folder: Path, *words: str, **env: str) -> "CompletedProcess[str]":
    command = [SLURMKIT, "bench", *words]
    return cluster.exec("login", command, cwd=folder, env={**_env(folder), **env}, timeout=120)


def _env(folder: Path) -> dict[str, str]:
    # One thread per rank: all nodes share this machine's cores.
    return {
        "HOME": str(folder),
        "SLURMKIT_RUN_ROOT": str(folder / "runs"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def slow_cable(cluster: Sandbox) -> Iterator[None]:
    """Let the switch's port to one node pass few bytes per second (tc-tbf(8))."""
    port = ("dev", f"v-{_SLOW}", "root")
    shape = ("tbf", "rate", f"{_SLOW_BITS:.0f}bit", "burst", "32kb", "latency", "100ms")
    try:
        machine.in_room(cluster.layout, ["tc", "qdisc", "add", *port, *shape])
    except SandboxError as error:
        pytest.skip(f"no tc, or no token bucket filter in this kernel: {error.message}")
    yield
    machine.in_room(cluster.layout, ["tc", "qdisc", "del", *port])


def test_it_submits_itself_and_waits(cluster: Sandbox, folder: Path) -> None:
    words = ("allreduce", "--nodes", "2", "--tasks-per-node", "2", "--time", "5m")
    words += ("--sizes", "8,64K", "--repetitions", "5", "--via", "gloo", "--rated", "10Gb/s")
    done = bench(cluster, folder, *words, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["hosts"] == ["node1", "node2"]
    assert result["world_size"] == 4
    last = result["rows"][-1]
    assert last["bus_bytes_per_s"] == pytest.approx(last["algorithm_bytes_per_s"] * 1.5)
    assert last["of_rated"] == pytest.approx(last["bus_bytes_per_s"] / 1.25e9)
    run_dir = Path(result["run_dir"])
    script = (run_dir / "job.sbatch").read_text()
    assert "#SBATCH --nodes=2" in script
    assert "slurmkit.bench.ranks_torch allreduce" in script
    assert (run_dir / "bench.json").exists()


def test_mpi_in_an_allocation(cluster: Sandbox, folder: Path) -> None:
    words = ("p2p", "--via", "mpi", "--sizes", "8,256K", "--repetitions", "5", "--json")
    command = ["salloc", "-N2", "--time=5", SLURMKIT, "bench", *words]
    done = cluster.exec("login", command, cwd=folder, env=_env(folder), timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["hosts"] == ["node1", "node2"]
    assert [row["size_bytes"] for row in result["rows"]] == [8, 262144]
    assert "Open MPI" in result["library"]


def test_an_allocation_that_is_too_small(cluster: Sandbox, folder: Path) -> None:
    command = ["salloc", "-N1", "--time=5", SLURMKIT, "bench", "p2p", "--nodes", "2"]
    done = cluster.exec("login", command, cwd=folder, env=_env(folder), timeout=60)
    assert done.returncode == 2
    assert "2 nodes are asked for" in done.stderr


def test_the_matrix_names_the_slow_node(cluster: Sandbox, folder: Path, slow_cable: None) -> None:
    words = ("matrix", "--nodes", "4", "--time", "5m", "--via", "gloo", "--sizes", "256K")
    done = bench(cluster, folder, *words, "--repetitions", "5", "--warm-up", "2", "--json")
    result = json.loads(done.stdout)
    assert len(result["pairs"]) == 6
    nodes = [item["name"] for item in result["findings"] if item["kind"] == "node"]
    assert nodes == [_SLOW], done.stderr
    assert done.returncode == 1
    slow = [pair for pair in result["pairs"] if _SLOW in (pair["first"], pair["second"])]
    # The switch lets through what it was told to, in one of the two directions.
    assert all(pair["bytes_per_s"] < 4 * _SLOW_BITS / 8 for pair in slow)


def test_a_job_that_fails_is_no_result(cluster: Sandbox, folder: Path) -> None:
    done = bench(cluster, folder, "allreduce", "--nodes", "1", "--via", "nccl", "--time", "5m")
    assert done.returncode == 1
    assert "nothing was measured" in done.stderr
    (log,) = (folder / "runs").glob("bench-allreduce/*/logs/attempt-1/rank-00000.log")
    assert "no GPU is visible" in log.read_text()


def test_no_wait_and_show(cluster: Sandbox, folder: Path) -> None:
    words = ("allgather", "--nodes", "2", "--via", "gloo", "--sizes", "64K", "--repetitions", "3")
    done = bench(cluster, folder, *words, "--no-wait", "--time", "5m")
    assert done.returncode == 0, done.stderr
    run = done.stderr.split("bench show ")[1].strip()
    early = bench(cluster, folder, "show", run)
    if early.returncode:
        assert "there is no result" in early.stderr
    waited = cluster.exec(
        "login",
        [
            sys.executable,
            "-c",
            f"from slurmkit.api import find_run; find_run({run!r}).wait(100)",
        ],
        cwd=folder,
        env=_env(folder),
        timeout=120,
    )
    assert waited.returncode == 0, waited.stderr
    shown = bench(cluster, folder, "show", run)
    assert "allgather over gloo" in shown.stdout
