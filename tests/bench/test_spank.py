"""What the plugins cost: srun of two tasks with both of them against the same srun without."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib import util
from pathlib import Path

import pytest

from slurmkit.errors import SlurmkitError
from slurmkit.resources import shipped_dir
from slurmkit.sandbox import Sandbox
from slurmkit.topology.export_map import plugin_map
from slurmkit.topology.profile import load_profile

_SPEC = util.spec_from_file_location("spank_help", Path(__file__).parents[1] / "slurm" / "spank.py")
assert _SPEC
assert _SPEC.loader
_HELP = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_HELP)

_PAIRS = 100
# The loop runs on the login host, so that entering the sandbox is not measured; every launch reads
# plugstack.conf anew.
_LOOP = """
import os, subprocess, sys, time
command = ["srun", "--nodes=1", "--ntasks=2", "--gpus-per-node=2", "--overlap", "true"]
pairs, lines_path, stack = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def launch(text):
    with open(stack + ".new", "w") as file:
        file.write(text)
    os.rename(stack + ".new", stack)
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start
lines = open(lines_path).read()
for text in ("", lines):
    launch(text)
printenv = [*command[:-1], "printenv", "NCCL_IB_HCA"]
bound = subprocess.run(printenv, stdout=subprocess.PIPE, text=True)
assert sorted(bound.stdout.split()) == ["=mlx5_0", "=mlx5_1"], bound
for pair in range(pairs):
    times = {}
    for text in (lines, "") if pair % 2 else ("", lines):
        times[bool(text)] = launch(text)
    print(times[True], times[False])
"""


def test_srun_with_both_plugins(tmp_path: Path, figure: Callable[[str, str, str], None]) -> None:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        cluster = Sandbox.up(f"bench-spank-{os.getpid()}", nodes=1, gpus=2, cpus=8)
    except SlurmkitError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    with cluster:
        built = _HELP.built_plugins(None, tmp_path)
        folder = cluster.shared_dir / "spank"
        folder.mkdir()
        for plugin in built.glob("*.so"):
            shutil.copy(plugin, folder)
        cpus = sorted(os.sched_getaffinity(0))
        (folder / "map").write_text(
            "slurmkit-map 1 -\n"
            f"gpu 0 0000:01:00.0 cpus={cpus[0]} mems=0 env=NCCL_IB_HCA==mlx5_0\n"
            f"gpu 1 0000:02:00.0 cpus={cpus[-1]} mems=0 env=NCCL_IB_HCA==mlx5_1\n"
        )
        (folder / "stack").write_text(
            f"optional {folder / _HELP.RANK}\n"
            f"optional {folder / _HELP.AFFINITY} mode=strict map={folder / 'map'}\n"
        )
        (folder / "loop.py").write_text(_LOOP)
        stack = cluster.layout.slurm_conf_path.with_name("plugstack.conf")
        done = cluster.exec(
            "login",
            [
                *("salloc", "--quiet", "--nodes=1", "--ntasks=2", "--gpus-per-node=2"),
                *("python3", folder / "loop.py", str(_PAIRS), folder / "stack", stack),
            ],
            timeout=300,
            check=True,
        )
    pairs = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    assert len(pairs) == _PAIRS
    added_ms = statistics.median(ours - rival for ours, rival in pairs) * 1000
    ratio = statistics.median(ours / rival for ours, rival in pairs)
    rival_ms = statistics.median(rival for _, rival in pairs) * 1000
    figure(
        f"srun -n2 true with both plugins / without ({rival_ms:.0f} ms)",
        f"{added_ms:+.1f} ms, {ratio:.3f} x",
        "at most 5 ms more",
    )


def test_a_rank_killed_in_task_init(
    tmp_path: Path, figure: Callable[[str, str, str], None]
) -> None:
    """From the kill -9 of one of four ranks until srun has ended, and with it all others."""
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        cluster = Sandbox.up(f"bench-kill-{os.getpid()}", nodes=1, gpus=0, cpus=8)
    except SlurmkitError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    with cluster:
        include = _HELP.headers(None, tmp_path).include_dir
        plugin, stamp = cluster.shared_dir / "fail.so", cluster.shared_dir / "killed"
        source = shipped_dir("plugins") / "spank/tests/fail.c"
        command = ["cc", "-std=gnu11", "-shared", "-fPIC", "-isystem", include]
        subprocess.run([*command, "-o", plugin, source], check=True, timeout=60)
        _HELP.load(cluster, f"optional {plugin} kill={stamp}")
        times = []
        for _ in range(15):
            done = cluster.exec(
                "login", ["srun", "--ntasks=4", "--kill-on-bad-exit=1", "sleep", "30"], timeout=60
            )
            assert done.returncode != 0
            times.append(time.time() - float(stamp.read_text()))
    figure(
        "rank killed in task_init: until srun and all ranks have ended",
        f"{statistics.median(times):.2f} s (slowest of 15: {max(times):.2f} s)",
        "1 s",
    )


def test_time_per_task(tmp_path: Path, figure: Callable[[str, str, str], None]) -> None:
    if not shutil.which("make") or not shutil.which("cc"):
        pytest.skip("needs make and a C compiler")
    source = shipped_dir("plugins") / "spank"
    command = ["make", f"--directory={source}", f"OUT={tmp_path}", "speed"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    table = tmp_path / "map"
    table.write_text(plugin_map(load_profile("dgx-h100")))
    done = subprocess.run(
        [tmp_path / "speed", table], check=True, capture_output=True, text=True, timeout=60
    )
    figure(
        "affinity plugin's own work per task, map of 8 GPUs",
        f"{float(done.stdout) / 1000:.3f} ms",
        "at most 0.5 ms",
    )
