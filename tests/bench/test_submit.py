"""Jobs submitted per second, against submitit on the same cluster in the same run."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox

NUM_OURS, NUM_RIVAL = 200, 20

OURS = """
import json, os, sys, time
import slurmkit
from slurmkit import api
jobs = [slurmkit.load(path) for path in sys.argv[1:]]
start = time.perf_counter()
runs = api.submit_many(jobs)
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


def test_submit(cluster: Sandbox, figure: Callable[[str, str, str], None]) -> None:
    folder = cluster.shared_dir
    for number in range(NUM_OURS):
        (folder / f"job-{number}.yaml").write_text(
            f"name: job-{number}\nresources: {{time: 5m, partition: long}}\n"
            "launch: {command: [hostname]}\nsbatch: [--hold]\n"
        )
    env = {"SLURMKIT_RUN_ROOT": str(folder / "runs")}
    paths = [f"job-{number}.yaml" for number in range(NUM_OURS)]

    def rate(code: str, *args: str) -> float:
        done = cluster.exec(
            "login",
            [sys.executable, "-c", code, *args],
            cwd=Path(folder),
            env=env,
            timeout=300,
            check=True,
        )
        return float(json.loads(done.stdout.splitlines()[-1]))

    ours, rival = rate(OURS, *paths), rate(RIVAL, str(NUM_RIVAL))
    figure(
        f"submitting {NUM_OURS} jobs in one call / submitit, jobs per second through sbatch",
        f"{ours / rival:.1f} ({ours:.0f}/s, {rival:.1f}/s)",
        ">= 8",
    )
