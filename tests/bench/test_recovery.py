"""From a node's death to the first new checkpoint: ours, and stock Slurm's requeue in one run."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox

FAULTS = Path(__file__).parents[1] / "faults"
_SPEC = util.spec_from_file_location("bench_lab", FAULTS / "lab.py")
assert _SPEC
assert _SPEC.loader
lab_module = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(lab_module)

Figure = Callable[[str, str, str], None]

# A step takes 50 ms and each is saved: what is measured is the way back to work, not an interval.
OPTIONS = ("--epochs", 200, "--pace", 0.05)
CHECKPOINT = "dir: ckpt, every: 1 steps, keep: 1000"
ROUNDS = 7
# Three heartbeats are 2 to 3 s, by when in a second the node dies.
PHASES = random.Random(7)

STOCK = """#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=1 --requeue --open-mode=append
#SBATCH --output={folder}/stock.log
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) MASTER_PORT=29411
export SLURMKIT_CHECKPOINT_DIR={folder}/ckpt SLURMKIT_CHECKPOINT_EVERY=1
export SLURMKIT_CHECKPOINT_KEEP=1000 OMP_NUM_THREADS=1
srun --nodes=2 --ntasks=2 --cpus-per-task=1 --mpi=none bash -c \\
  'RANK=$SLURM_PROCID LOCAL_RANK=0 WORLD_SIZE=2 exec {python} {program} --folder {folder} {options}'
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    name = f"test-faultsbench-{os.getpid()}"
    with Sandbox.up(name, nodes=4, gpus=0, cpus=8, slurmd_timeout_s=30) as sandbox:
        yield sandbox


def _lab(cluster: Sandbox, name: str) -> Any:
    folder = cluster.shared_dir / name
    folder.mkdir()
    return lab_module.Lab(cluster, folder, 0)


def _first_commit_after(folder: Path, killed: float, timeout_s: float) -> float:
    """Return how long after the node's death the first step that began later was committed."""
    before = {path.name for path in folder.glob("step-*") if "." not in path.name}
    # A commit of the attempt that lost its node may still be on its way: 1 s is plenty for it.
    time.sleep(max(0.0, killed + 1.0 - time.time()))
    before |= {path.name for path in folder.glob("step-*") if "." not in path.name}

    def new() -> list[float]:
        manifests = [
            path / "manifest.json"
            for path in folder.glob("step-*")
            if "." not in path.name and path.name not in before
        ]
        return [json.loads(path.read_text())["time"] for path in manifests]

    return float(min(lab_module.until(new, timeout_s, "a new commit"))) - killed


def _ours(lab: Any, **sections: str) -> float:
    run = lab.train("train", *OPTIONS, checkpoint=CHECKPOINT, **sections)
    run.until_event("checkpoint_committed")
    run.until_step(20, rank=1)
    victim = run.nodes()[1]
    time.sleep(PHASES.random())
    killed = time.time()
    lab.cluster.kill(victim)
    took_s = _first_commit_after(run.path / "ckpt", killed, 120)
    lab.clean_up()
    return took_s


def _stock(lab: Any) -> float:
    script = STOCK.format(
        folder=lab.folder,
        python=lab_module.BIN / "python",
        program=lab_module.PROGRAMS / "trainer.py",
        options=" ".join(map(str, OPTIONS)),
    )
    lab.cluster.exec("login", ["sbatch"], input=script, cwd=lab.folder, check=True)
    steps = lab.folder / "steps-1.log"
    lab_module.until(
        lambda: steps.exists() and len(steps.read_text().splitlines()) > 20, 90, "step 20"
    )
    victim = steps.read_text().split()[-1]
    killed = time.time()
    lab.cluster.kill(victim)
    took_s = _first_commit_after(lab.folder / "ckpt", killed, 400)
    lab.clean_up()
    return took_s


def test_a_spare_against_stock_requeue(cluster: Sandbox, figure: Figure) -> None:
    ours = sorted(_ours(_lab(cluster, f"spare-{number}")) for number in range(ROUNDS))
    stock_s = _stock(_lab(cluster, "stock"))
    ours_s = ours[ROUNDS // 2]
    figure(
        "node killed -> first new commit, on a spare, SlurmdTimeout=30",
        f"{ours_s:.1f} s (of {ROUNDS}: {ours[0]:.1f} to {ours[-1]:.1f})",
        "<= 5 s",
    )
    figure(
        "the same / by stock requeue",
        f"{ours_s / stock_s:.3f} ({ours_s:.1f} s / {stock_s:.1f} s)",
        "<= 0.1",
    )


def test_a_spare_with_quicker_heartbeats(cluster: Sandbox, figure: Figure) -> None:
    """Of the above, 2 to 3 s are three heartbeats, and nearly all else is torch's own start."""
    took_s = _ours(
        _lab(cluster, "quick"),
        resilience="on_node_failure: spare, then: [successor, requeue], heartbeat_s: 0.5",
    )
    figure("the same with heartbeat_s: 0.5", f"{took_s:.1f} s", "-")


def test_without_torch(cluster: Sandbox, figure: Figure) -> None:
    """A program that starts at once: what is left is the time to notice and to launch again."""
    lab = _lab(cluster, "plain")
    run = lab.plain("plain", "--steps", 2000, "--save-every", 1, checkpoint="")
    run.until_step(20, rank=1)
    victim = run.nodes()[1]
    killed = time.time()
    lab.cluster.kill(victim)

    def new() -> list[float]:
        return [when for when, _, token, _ in run.steps() if when > killed and token.endswith("/2")]

    took_s = lab_module.until(new, 60, "a new step")[0] - killed
    lab.clean_up()
    figure("the same by a program without torch", f"{took_s:.1f} s", "-")


def test_a_successor(cluster: Sandbox, figure: Figure) -> None:
    took_s = _ours(
        _lab(cluster, "successor"),
        resources="nodes: 2, tasks_per_node: 1, cpus_per_task: 1, time: 10m",
        resilience="on_node_failure: successor, heartbeat_s: 1",
    )
    figure("the same by a successor, no spare", f"{took_s:.1f} s", "<= 20 s")
