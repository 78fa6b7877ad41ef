"""Planning and rendering at the size of the largest machines."""

import subprocess
import sys
import time
from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture

from slurmkit.limits import Limits, NodeShape, PartitionLimits
from slurmkit.plan.planner import Context, make_plan
from slurmkit.render.renderer import render
from slurmkit.site.models import Site
from slurmkit.spec.models import JobSpec

_NODES = 16_384
_JOB = {
    "name": "huge",
    "resources": {
        "nodes": _NODES,
        "gpus_per_node": 8,
        "nodelist": f"r[001-128]n[001-{_NODES // 128}]",
        "partition": "all",
    },
    "launch": {"kind": "torch", "command": ["python", "train.py"]},
}
_CONTEXT = Context(base_dir="/job", run_root="/runs", run_dir="/runs/huge/1", slurmkit="/s")


def _cluster() -> Limits:
    hosts = tuple(f"r{rack:03d}n{node:03d}" for rack in range(1, 129) for node in range(1, 129))
    nodes = NodeShape(hosts, cpus=192, memory_mib=2_000_000, gpus=8)
    return Limits("exa", (25, 11), {"all": PartitionLimits("all", nodes=(nodes,))})


def plan_and_render(limits: Limits | None = None) -> str:
    """Do all that happens between a checked job file and its script."""
    spec = JobSpec.model_validate(_JOB)
    return render(make_plan(spec, Site(), limits, _CONTEXT), [])


def test_plan_and_render_16384_nodes(
    benchmark: BenchmarkFixture, figure: Callable[[str, str, str], None]
) -> None:
    limits = _cluster()
    started = time.perf_counter()
    text = plan_and_render(limits)
    first_s = time.perf_counter() - started
    assert f"--ntasks={_NODES * 8}" in text
    assert "--cpus-per-task=24" in text
    assert len(text) < 4000
    benchmark(plan_and_render, limits)
    figure("plan + render 16,384 nodes x 8 ranks, first time", f"{first_s * 1e3:.0f} ms", "500 ms")


def test_memory_of_plan_and_render_16384_nodes(figure: Callable[[str, str, str], None]) -> None:
    code = (
        "import resource, runpy\n"
        f"module = runpy.run_path({__file__!r})\n"
        "module['plan_and_render'](module['_cluster']())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    figure("peak memory of that", f"{int(done.stdout) / 1024:.0f} MB", "300 MB")
