"""What the MPI tests share: a folder on a cluster, hello-mpi built for both MPIs, and its runs."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox

BIN = Path(sys.executable).parent
STARTERS = Path(__file__).parents[2] / "templates/starters"
COMPILERS = {"openmpi": "mpicc.openmpi", "mpich": "mpicc.mpich"}
ENV = {
    "OMP_NUM_THREADS": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    # All nodes are this machine, with more ranks than cores: whoever waits shall not spin.
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "UCX_TLS": "tcp,self",
}


@dataclass
class Result:
    """One run that has ended."""

    code: int
    said: str
    seconds: float
    run_dir: Path | None = None

    def ranks(self) -> list[tuple[int, int]]:
        """Rank and size of the world, by each rank that said so, in order."""
        rows = [
            line.split() for line in self.said.splitlines() if " of " in line and "rank" in line
        ]
        return sorted((int(row[3]), int(row[5])) for row in rows if row[0] == "[rank")


@dataclass
class Desk:
    """A folder on the login host."""

    cluster: Sandbox
    folder: Path
    programs: dict[str, Path] = field(default_factory=dict)

    def slurmkit(self, *argv: object, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        return self.cluster.exec(
            "login",
            [BIN / "slurmkit", *argv],
            cwd=self.folder,
            env={"SLURMKIT_RUN_ROOT": str(self.folder / "runs"), "PATH": f"{BIN}:/usr/bin:/bin"},
            timeout=timeout,
        )

    def run(self, name: str, launch: dict[str, Any], nodes: int = 2, **sections: Any) -> Result:
        """Submit a job of two ranks per node, wait for it, and return all that was said."""
        self.write(name, launch, nodes, **sections)
        return self.submit(name)

    def until_summed(self, name: str, launch: dict[str, Any], nodes: int) -> Result:
        """Submit a job, and end it when its ranks have added up: MPICH 4.0 may hang after that.

        https://github.com/pmodels/mpich/pull/6596
        """
        self.write(name, launch, nodes)
        done = self.slurmkit("submit", f"{name}.yaml", "--json")
        (submitted,) = json.loads(done.stdout)
        deadline = time.monotonic() + 60
        result = Result(0, "", 0.0)
        while "MPI_Allreduce" not in result.said or len(result.ranks()) < 2 * nodes:
            assert time.monotonic() < deadline, result.said
            time.sleep(0.3)
            result = Result(0, self.slurmkit("logs", name).stdout, 0.0)
            gone = not self.slurm("squeue", "-h", "-j", str(submitted["job_id"]))
            assert not gone or "MPI_Allreduce" in result.said, result.said
        self.slurm("scancel", str(submitted["job_id"]))
        while self.slurm("squeue", "-h", "-j", str(submitted["job_id"])):
            time.sleep(0.2)
        return result

    def slurm(self, *argv: str) -> str:
        return self.cluster.exec("login", argv, cwd=self.folder, timeout=30).stdout.strip()

    def write(self, name: str, launch: dict[str, Any], nodes: int, **sections: Any) -> None:
        job = {
            "name": name,
            "resources": {"nodes": nodes, "tasks_per_node": 2, "cpus_per_task": 1, "time": "2m"},
            "env": ENV,
            "launch": {"kind": "mpi", **launch},
            **sections,
        }
        (self.folder / f"{name}.yaml").write_text(json.dumps(job))

    def submit(self, name: str, *options: str, timeout: float = 150) -> Result:
        done = self.slurmkit("submit", f"{name}.yaml", "--wait", *options, timeout=timeout)
        if "submitted job" not in done.stdout + done.stderr:  # refused here
            return Result(done.returncode, done.stdout + done.stderr, 0.0)
        logs = self.slurmkit("logs", name).stdout
        status = json.loads(self.slurmkit("status", name, "--json").stdout)
        element = status["elements"][0]
        said = f"{logs}\n{done.stdout}{done.stderr}"
        seconds = (element["end_time"] or 0) - (element["start_time"] or 0)
        return Result(done.returncode, said, seconds, Path(status["run_dir"]))


def build(folder: Path) -> dict[str, Path]:
    """Compile hello-mpi for each MPI, on this machine."""
    built = {}
    for family, compiler in COMPILERS.items():
        if shutil.which(compiler) is None:
            pytest.skip(
                f"{compiler} is not installed (apt-get install libopenmpi-dev libmpich-dev)"
            )
        built[family] = folder / f"hello-{family}"
        source = STARTERS / "hello-mpi/hello.c"
        subprocess.run([compiler, "-o", built[family], source], check=True, timeout=60)
    return built


def check_world(result: Result, size: int) -> None:
    assert result.code == 0, result.said
    assert result.ranks() == [(rank, size) for rank in range(size)], result.said
    total = size * (size + 1) // 2
    assert f"MPI_Allreduce over {size} ranks: {total}, as it should be" in result.said


def check_refused(result: Result, *words: str) -> None:
    """One clear error, a clean end, and soon."""
    assert result.code != 0, result.said
    errors = [
        line for line in result.said.splitlines() if "error: " in line and "slurm" not in line
    ]
    mine = [line for line in result.said.splitlines() if all(word in line for word in words)]
    assert len(mine) == 1, result.said
    assert len(errors) <= 1, result.said
    assert result.seconds < 30, result.said
