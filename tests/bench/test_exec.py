"""What slurmkit costs a task and the batch host, against the same without it, in turn."""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.errors import SlurmkitError
from slurmkit.sandbox import Sandbox
from slurmkit.supervise.splitter import Splitter

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
_SUPERVISED = {"MASTER_ADDR": "node1", "MASTER_PORT": "17000", "SLURMKIT_RENDEZVOUS_HOST": "node1"}

Figure = Callable[[str, str, str], None]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        sandbox = Sandbox.up(f"bench-exec-{os.getpid()}", nodes=2, gpus=0, cpus=8)
    except SlurmkitError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        yield sandbox
    finally:
        sandbox.down()


def _added_ms(cluster: Sandbox, exec_: list[str], env: dict[str, str], rounds: int = 21) -> float:
    """Return the median time that exec adds to a two-task step; pairs are run in turn."""
    # An empty value: byte code is kept, as on a user's machine.
    env = {"PYTHONDONTWRITEBYTECODE": "", "HOME": str(cluster.shared_dir), **env}

    def step(command: list[str]) -> float:
        started = time.perf_counter()
        cluster.exec("node1", ["srun", "--overlap", "-n2", *command], env=env, check=True)
        return time.perf_counter() - started

    step([*exec_, "true"])
    pairs = [(step([*exec_, "true"]), step(["true"])) for _ in range(rounds)]
    return statistics.median(with_exec - without for with_exec, without in pairs) * 1000


def test_exec_under_supervise(cluster: Sandbox, figure: Figure) -> None:
    added = _added_ms(cluster, [SLURMKIT, "exec", "--"], _SUPERVISED)
    figure("slurmkit exec, added to srun -n2 true", f"{added:.0f} ms", "<= 40 ms")


def test_exec_under_a_bare_srun(cluster: Sandbox, figure: Figure) -> None:
    added = _added_ms(cluster, [SLURMKIT, "exec", "--"], {})
    figure("the same under a bare srun, port published in a file", f"{added:.0f} ms", "-")


def test_python_alone(cluster: Sandbox, figure: Figure) -> None:
    code = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    added = _added_ms(cluster, [sys.executable, "-c", code], {})
    figure("python -c os.execvp, added to srun -n2 true", f"{added:.0f} ms", "-")


# A process's peak counts that of the one it was forked from: measure from a small one.
_MEASURE = """
import json, os, sys
null = os.open(os.devnull, os.O_WRONLY)
actions = [(os.POSIX_SPAWN_DUP2, null, 1)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=actions)
_, status, usage = os.wait4(pid, 0)
assert status == 0
print(json.dumps([usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime]))
"""


def _measure(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Return a program's peak size in MiB and its processor time in seconds."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _MEASURE, *command],
        env={**os.environ, **env},
        check=True,
        capture_output=True,
    )
    size_mib, used_s = json.loads(done.stdout)
    return size_mib, used_s


def test_size_of_exec(figure: Figure) -> None:
    env = {**_SUPERVISED, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    env |= {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
    env |= {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "node1"}
    size_mib, _ = _measure([SLURMKIT, "exec", "--", "true"], env)
    figure("slurmkit exec, whole process", f"{size_mib:.1f} MiB", "<= 20 MB")


@pytest.mark.parametrize("bursts", [1, 50])
def test_splitting_logs(bursts: int, figure: Figure) -> None:
    chosen = random.Random(1)
    lines = []
    while len(lines) < 100_000:
        label = b"%2d: " % chosen.randrange(16)
        lines += [label + b"x" * 95 + b"\n"] * bursts
    data = b"".join(lines)
    splitter = Splitter("srun", [])
    started = time.process_time()
    for start in range(0, len(data), 1 << 20):
        splitter.feed(data[start : start + (1 << 20)])
    used_s = time.process_time() - started
    share = used_s / (len(data) / 50e6)
    figure(
        f"splitting 50 MB/s of 100-byte lines, {bursts} in a row per rank",
        f"{share:.0%} of a core",
        "-",
    )


def test_supervising_logs(tmp_path: Path, figure: Figure) -> None:
    """The whole supervisor, with a launcher that writes as fast as it can."""
    chosen = random.Random(1)
    lines = [b"%2d: " % chosen.randrange(16) + b"x" * 95 + b"\n" for _ in range(100_000)]
    (tmp_path / "lines").write_bytes(b"".join(lines))
    script = f"for i in 1 2 3 4 5 6 7 8 9 10; do cat {tmp_path}/lines; done"
    size_mib, used_s = _measure(
        [SLURMKIT, "supervise", str(tmp_path), "--", "sh", "-c", script], {}
    )
    share = used_s / (10 * (tmp_path / "lines").stat().st_size / 50e6)
    figure(
        "slurmkit supervise at 50 MB/s, with writing the logs and `cat`",
        f"{share:.0%} of a core, {size_mib:.0f} MiB",
        "-",
    )
