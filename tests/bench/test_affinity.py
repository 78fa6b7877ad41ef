"""What a plan costs, and what binding adds to a task."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmkit.topology.affinity import Request, plan_ranks
from slurmkit.topology.export_json import from_json
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import Topology

FIXTURES = Path(__file__).parents[1] / "fixtures" / "topology"
Figure = Callable[[str, str, str], None]


def load(name: str) -> Topology:
    return from_json(json.loads((FIXTURES / f"{name}.json").read_text()))


@pytest.mark.parametrize("name", ["dgx-h100", "b300-interleaved"])
def test_plan(name: str, in_turn: Callable[..., Any], figure: Figure) -> None:
    node, request = load(name), Request(num_ranks=8)

    def slices_of_ranges() -> list[range]:
        cores = len(node.cpus_online) // 16
        return [range(rank * cores, (rank + 1) * cores) for rank in range(8)]

    pair = in_turn(lambda: plan_ranks(node, request), slices_of_ranges, rounds=51)
    rival_us = pair.rival_s * 1e6
    told = f"{pair.ours_s * 1e3:.2f} ms (slices of ranges, wrong on odd ids: {rival_us:.0f} us)"
    figure(f"plan of 8 ranks, {name}", told, "<= 20 ms")


_PLACE = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_ID": "1"}
_PLACE |= {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
_PLACE |= {"SLURM_STEP_NUM_NODES": "1", "MASTER_ADDR": "here", "MASTER_PORT": "17000"}


def _exec(**added: str) -> Callable[[], object]:
    slurmkit = str(Path(sys.executable).with_name("slurmkit"))
    env = {name: v for name, v in os.environ.items() if not name.startswith(("SLURM", "PYTHOND"))}
    env |= _PLACE | added
    return lambda: subprocess.run([slurmkit, "exec", "--", "true"], env=env, check=True)


def test_binding(in_turn: Callable[..., Any], figure: Figure) -> None:
    pair = in_turn(_exec(SLURMKIT_AFFINITY="strict"), _exec(), rounds=31)
    added_ms = (pair.ours_s - pair.rival_s) * 1e3
    figure(
        "binding in slurmkit exec, with discovery of this machine", f"{added_ms:.1f} ms", "10 ms"
    )


# In a process of its own, so that imports count; the node is a written sysfs of 8 GPUs.
_WHOLE = """
import sys, time
started = time.perf_counter()
from slurmkit.topology.affinity import Request, plan_ranks
from slurmkit.topology.discover import discover
from slurmkit.launch import affinity, binding
node = discover(sys.argv[1])
found = time.perf_counter()
plan_ranks(node, Request(num_ranks=8))
print(found - started, time.perf_counter() - started)
"""


def test_binding_on_eight_gpus(tmp_path: Path, figure: Figure) -> None:
    write_sysfs(load("dgx-h100"), tmp_path)
    env = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    runs = []
    for _ in range(15):
        done = subprocess.run(
            [sys.executable, "-c", _WHOLE, str(tmp_path)],
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        runs.append(sorted(float(word) * 1e3 for word in done.stdout.split()))
    discovered, planned = sorted(runs)[len(runs) // 2]
    told = f"{planned:.1f} ms, of which {discovered:.1f} ms importing and discovering"
    figure("import, discover and plan an 8-GPU node", told, "10 ms + discovery")
