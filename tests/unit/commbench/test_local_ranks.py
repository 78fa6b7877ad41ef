"""Real ranks on this machine: over gloo and over MPI; results, pictures, failures."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from slurmkit.api.schemas import schema_of

pytestmark = pytest.mark.timeout(120)


def _bench(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLURM")},
        "SLURMKIT_RUN_ROOT": str(folder / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "slurmkit", "bench", *words]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def test_gloo(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ("--local", "2", "--sizes", "8,64K", "--repetitions", "5", "--json")
    done = _bench(tmp_path, "allreduce", *words, "--plot", "result.svg")
    result = json.loads(done.stdout)
    jsonschema.validate(result, schema_of("bench"))
    assert [row["size_bytes"] for row in result["rows"]] == [8, 65536]
    assert result["world_size"] == 2
    for row in result["rows"]:
        assert row["repetitions"] == 5
        assert row["bus_bytes_per_s"] == pytest.approx(row["size_bytes"] / row["times"]["median_s"])
    picture = (tmp_path / "result.svg").read_text()
    assert picture.startswith("<?xml")
    kept = json.loads((Path(result["run_dir"]) / "bench.json").read_text())
    assert kept["rows"] == result["rows"]

    shown = _bench(tmp_path, "show", "bench-allreduce")
    assert "2(N-1)/N" in shown.stdout
    assert "64K" in shown.stdout


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs Open MPI's mpirun")
def test_mpi(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    words = ("--local", "2", "--via", "mpi", "--sizes", "12,64K", "--repetitions", "5", "--json")
    result = json.loads(_bench(tmp_path, "allgather", *words).stdout)
    assert [row["size_bytes"] for row in result["rows"]] == [16, 65536]  # whole floats per rank
    for row in result["rows"]:
        wanted = row["size_bytes"] / row["times"]["median_s"] / 2
        assert row["bus_bytes_per_s"] == pytest.approx(wanted)


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs Open MPI's mpirun")
def test_matrix_of_ranks(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    words = ("--local", "3", "--via", "mpi", "--sizes", "64K", "--repetitions", "5")
    # Whether something stands out on a busy machine is chance: 0 or 1.
    command = [sys.executable, "-m", "slurmkit", "bench", "matrix", *words, "--plot", "matrix.png"]
    env = {**os.environ, "SLURMKIT_RUN_ROOT": str(tmp_path / "runs")}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert "rank 0  -" in done.stdout
    assert "median " in done.stdout
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")
    (path,) = (tmp_path / "runs" / "bench-matrix").glob("*/bench.json")
    pairs = json.loads(path.read_text())["pairs"]
    assert [(pair["first"], pair["second"]) for pair in pairs] == [
        ("rank 0", "rank 1"),
        ("rank 0", "rank 2"),
        ("rank 1", "rank 2"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("allreduce", "--local", "2", "--sizes", "nine"), "'nine' is not a size"),
        (("allreduce", "--local", "2", "--rated", "400"), "'400' is not the speed of a link"),
        (("matrix", "--local", "2", "--via", "osu"), "no matrix"),
        (("matrix", "--local", "1"), "needs two ranks or more"),
        (("p2p", "--local", "3", "--via", "osu"), "exactly two ranks"),
        (("p2p", "--via", "mpi", "--launcher", "ssh"), "--launcher ssh: no such way"),
        (("p2p", "--local", "2", "--warm-up", "0"), "at least one is needed"),
        (("p2p", "--dry-run", "--set", "resources.nodes=none"), "resources.nodes"),
        (("show", "bench-nothing"), "no run 'bench-nothing'"),
        (("p2p", "--local", "2", "--plot", "x.gif"), "x.gif: unknown kind of picture"),
        (("p2p", "--local", "2", "--plot", "none/x.png"), "there is no folder none"),
        (("p2p", "--local", "2", "--nodes", "3"), "all ranks are on this machine"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    assert message in _bench(tmp_path, *words, code=2).stderr


def test_the_script_is_shown(tmp_path: Path) -> None:
    words = ("--dry-run", "--nodes", "2", "--tasks-per-node", "2", "--rated", "2x400Gb/s")
    script = _bench(tmp_path, "allreduce", *words).stdout
    assert "#SBATCH --nodes=2" in script
    assert "slurmkit.bench.ranks_torch allreduce" in script
    assert "--rated=2x400Gb/s" in script


def test_it_measures_what_a_job_would_get(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(
        "name: train\nresources: {nodes: 3, tasks_per_node: 4, partition: gpu}\n"
        "env: {NCCL_ALGO: Ring}\nlaunch: {kind: torch, command: [python, train.py]}\n"
    )
    script = _bench(tmp_path, "allreduce", "--dry-run", "--like", "train.yaml").stdout
    assert "export NCCL_ALGO=Ring" in script
    assert "srun --nodes=3 --ntasks=12" in script
    assert "train.py" not in script


def test_the_rated_speed_of_the_site(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("fabric: {preset: roce-800, rate_gbps: 400}\n")
    words = ("--dry-run", "--nodes", "2", "--site", "site.yaml", "--via")
    assert "--rated=400Gb/s" in _bench(tmp_path, "p2p", *words, "mpi").stdout
    assert "--rated" not in _bench(tmp_path, "p2p", *words, "gloo").stdout, "TCP is no RDMA"
    given = _bench(tmp_path, "p2p", *words, "gloo", "--rated", "10Gb/s").stdout
    assert "--rated=10Gb/s" in given


@pytest.mark.skipif(
    shutil.which("osu_latency") is None or shutil.which("mpirun") is None,
    reason="needs OSU's benchmarks on PATH, and Open MPI's mpirun",
)
@pytest.mark.parametrize("operation", ["allreduce", "allgather", "p2p"])
def test_osu(tmp_path: Path, operation: str) -> None:
    words = ("--local", "2", "--via", "osu", "--sizes", "8:64K", "--repetitions", "20", "--json")
    result = json.loads(_bench(tmp_path, operation, *words).stdout)
    assert [row["size_bytes"] for row in result["rows"]] == [8 * 2**i for i in range(14)]
    assert result["library"].startswith("OSU micro-benchmarks v")
