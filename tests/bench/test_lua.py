"""What the job_submit plugin adds to a submission, as slurmctld itself counts it."""

import re
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox

PLUGIN = Path(__file__).parents[2] / "plugins" / "lua"
NUM_ROUNDS, NUM_JOBS = 5, 40
MOST_MS = 1.0
_RPC = re.compile(r"REQUEST_SUBMIT_BATCH_JOB.*count:(\d+)\s+ave_time:(\d+)\s+total_time:(\d+)")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    with Sandbox.up("bench-lua", nodes=1, gpus=8, cpus=64) as sandbox:
        for path in PLUGIN.glob("*.lua"):
            shutil.copy(path, sandbox.layout.slurm_conf_path.parent)
        yield sandbox


def _mean_ms(cluster: Sandbox, *, plugin: bool) -> float:
    """Return what one submission takes in slurmctld, with the plugin or without."""
    conf = cluster.layout.slurm_conf_path
    lines = [line for line in conf.read_text().splitlines() if "JobSubmitPlugins" not in line]
    conf.write_text("\n".join([*lines, *(["JobSubmitPlugins=lua"] if plugin else [])]) + "\n")
    cluster.exec("ctl", ["scontrol", "reconfigure"], check=True)
    time.sleep(1.0)
    job = "sbatch --quiet --hold --gres=gpu:1 --time=10 --output=/dev/null --wrap true >/dev/null"
    cluster.exec("login", ["bash", "-c", job], check=True)
    cluster.exec("ctl", ["sdiag", "--reset"], check=True)
    cluster.exec("login", ["bash", "-c", f"for i in $(seq {NUM_JOBS}); do {job}; done"], check=True)
    found = _RPC.search(cluster.exec("ctl", ["sdiag"], check=True).stdout)
    assert found
    assert int(found[1]) == NUM_JOBS
    cluster.exec("login", ["scancel", "--user=root"], check=True)
    return int(found[3]) / NUM_JOBS / 1000


def test_job_submit(cluster: Sandbox, figure: Callable[[str, str, str], None]) -> None:
    pairs = [
        (_mean_ms(cluster, plugin=True), _mean_ms(cluster, plugin=False)) for _ in range(NUM_ROUNDS)
    ]
    ours = statistics.median(a for a, _ in pairs)
    bare = statistics.median(b for _, b in pairs)
    added = statistics.median(a - b for a, b in pairs)
    figure(
        "job_submit.lua, added to a submission in slurmctld",
        f"{added:.2f} ms ({ours:.2f} with, {bare:.2f} without; {NUM_ROUNDS} rounds of {NUM_JOBS})",
        f"<= {MOST_MS} ms",
    )
    assert added <= MOST_MS
