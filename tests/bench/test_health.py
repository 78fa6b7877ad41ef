"""How long a job's start waits for the prolog, and what a check of a node costs."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLURMKIT = Path(sys.executable).with_name("slurmkit")
RUNS = 100
Figure = Callable[[str, str, str], None]


def _times(argv: list[str], env: dict[str, str], runs: int = RUNS) -> list[float]:
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False)
        found.append(time.perf_counter() - started)
    return sorted(found)


def _shown(times: list[float]) -> str:
    p99 = times[min(len(times) - 1, int(0.99 * len(times)))]
    return f"p50 {statistics.median(times):.3f} s, p99 {p99:.3f} s"


def _node(folder: Path, **common: object) -> dict[str, str]:
    """Return the environment of a prolog on a node with a driver that hangs."""
    hung = folder / "nvidia-smi"
    hung.write_text("#!/bin/bash\ntrap '' TERM INT HUP\nwhile :; do sleep 600; done\n")
    hung.chmod(0o755)
    value = {
        "format": "slurmkit-health",
        "version": 1,
        "common": {"nvidia_smi": str(hung), "mounts": ["/"], **common},
        "state_dir": str(folder / "state"),
    }
    (folder / "health.json").write_text(json.dumps(value))
    (folder / "node.env").write_text(f"SLURMKIT_PROGRAM={SLURMKIT}\n")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "SLURMKIT_NODE_ENV": str(folder / "node.env"),
        "SLURMKIT_HEALTH_CONF": str(folder / "health.json"),
        "SLURMKIT_NODE_VERDICT": str(folder / "verdicts.json"),
        "SLURMD_NODENAME": "node1",
        "SLURM_JOB_ID": "7",
    }


def test_prolog(tmp_path: Path, figure: Figure) -> None:
    env = _node(tmp_path)
    script = [str(ROOT / "plugins/prolog/slurmkit-prolog.sh")]
    figure("prolog, 100 starts", _shown(_times(script, env)), "p99 <= 2 s")
    figure("  of which Python alone", _shown(_times([sys.executable, "-c", ""], env)), "-")


def test_prolog_that_asks_a_driver_that_hangs(tmp_path: Path, figure: Figure) -> None:
    """A check that never answers costs what the prolog may take, and no more."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    asks = {"gpu-driver": {"level": "quick"}}
    env = _node(tmp_path, driver_s=30, root=str(tmp_path), checks=asks, mounts=[])
    script = [str(ROOT / "plugins/prolog/slurmkit-prolog.sh")]
    times = _times(script, env, runs=20)
    figure("prolog, driver hangs and is asked", _shown(times), "p99 <= 2 s")


def test_check(tmp_path: Path, figure: Figure) -> None:
    env = _node(tmp_path)
    quick = [str(SLURMKIT), "health", "check", "--quick"]
    figure("slurmkit health check --quick", _shown(_times(quick, env)), "-")
