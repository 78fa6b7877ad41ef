"""Jobs submitted per second, against submitit on the same cluster in the same run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox
from slurmkit.slurm.pyslurm_backend import why_not_usable

NUM_OURS, NUM_RIVAL = 200, 20

OURS = """
import json, sys, time
import slurmkit
from slurmkit import api
jobs = [slurmkit.load(path) for path in sys.argv[2:]]
start = time.perf_counter()
runs = api.submit_many(jobs, backend=sys.argv[1])
seconds = time.perf_counter() - start
assert len({run.job_id for run in runs}) == len(jobs)
print(json.dumps(len(jobs) / seconds))
"""
RIVAL = """
import json, sys, time
import submitit
executor = submitit.AutoExecutor(folder="submitit-logs", cluster="slurm")
executor.update_parameters(timeout_min=5)
count = int(sys.argv[1])
start = time.perf_counter()
jobs = [executor.submit(print, number) for number in range(count)]
seconds = time.perf_counter() - start
assert len({job.job_id for job in jobs}) == count
print(json.dumps(count / seconds))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    with Sandbox.up("bench-submit", nodes=1) as sandbox:
        # Nothing may start: jobs that run would take the two cores that submitting is timed on.
        sandbox.exec("login", ["scontrol", "update", "partition=debug", "state=DOWN"], check=True)
        yield sandbox


def _write_jobs(folder: Path, partition: str) -> list[str]:
    names = [f"job-{number}.yaml" for number in range(NUM_OURS)]
    for name in names:
        (folder / name).write_text(
            f"name: {name[:-5]}\nresources: {{time: 5m{partition}}}\n"
            "launch: {command: [hostname]}\nsbatch: [--hold]\n"
        )
    return names


def _report(
    figure: Callable[[str, str, str], None], how: str, rates: list[float], bar: str
) -> None:
    ours, rival = rates
    figure(
        f"submitting {NUM_OURS} jobs in one call / submitit, jobs per second {how}",
        f"{ours / rival:.1f} ({ours:.0f}/s, {rival:.1f}/s)",
        bar,
    )


def test_submit(cluster: Sandbox, figure: Callable[[str, str, str], None]) -> None:
    folder = cluster.shared_dir
    paths = _write_jobs(folder, ", partition: long")

    def rate(code: str, *args: str) -> float:
        done = cluster.exec(
            "login",
            [sys.executable, "-c", code, *args],
            cwd=folder,
            env={"SLURMKIT_RUN_ROOT": str(folder / "runs")},
            timeout=300,
            check=True,
        )
        return float(json.loads(done.stdout.splitlines()[-1]))

    rates = [rate(OURS, "cli", *paths), rate(RIVAL, str(NUM_RIVAL))]
    _report(figure, "through sbatch", rates, ">= 8")


def test_submit_through_pyslurm(tmp_path: Path, figure: Callable[[str, str, str], None]) -> None:
    """On the cluster that SLURM_CONF names, where pyslurm and Slurm match."""
    if reason := why_not_usable():
        pytest.skip(f"the pyslurm backend is not usable here: {reason}")
    paths = _write_jobs(tmp_path, "")

    def rate(code: str, *args: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=tmp_path,
            env={**os.environ, "SLURMKIT_RUN_ROOT": str(tmp_path / "runs")},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        return float(json.loads(done.stdout.splitlines()[-1]))

    try:
        rates = [rate(OURS, "pyslurm", *paths), rate(RIVAL, str(NUM_RIVAL))]
    finally:
        names = ",".join(f"job-{number}" for number in range(NUM_OURS))  # held, and nobody else's
        subprocess.run(["scancel", f"--name={names}"], check=False, timeout=60)
    _report(figure, "through pyslurm", rates, ">= 100")
