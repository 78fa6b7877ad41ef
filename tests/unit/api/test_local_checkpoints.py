"""`slurmkit run` of a job that saves: the ranks are told where, and may save when they must end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
_SAVES = """\
import os, signal, sys
from pathlib import Path

def save(number, frame):
    folder = Path(os.environ["SLURMKIT_CHECKPOINT_DIR"])
    folder.mkdir(exist_ok=True)
    (folder / f"saved-{os.environ['RANK']}").write_text(os.environ["SLURMKIT_GRACE_S"])
    sys.exit(75)

signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
signal.pause()
"""


def _write_job(folder: Path, more: str, command: str) -> None:
    (folder / "job.yaml").write_text(
        "name: demo\nresources: {tasks_per_node: 2}\n"
        f"launch: {{kind: torch, command: {command}}}\n{more}\n"
    )


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "SLURMKIT_RUN_ROOT": str(folder / "runs")}


@pytest.mark.parametrize(
    ("more", "args", "expected"),
    [
        ("checkpoint: 100 steps", [], "{run}/checkpoints 100 3 1 shared"),
        (
            "checkpoint: {dir: ckpt, every: 10m, keep: 2, async: false}\narray: 0-3",
            ["--task", "3"],
            "{run}/array/3/ckpt 600s 2 0 shared",
        ),
        (
            "checkpoint: {dir: /data/ckpt}\narray: 0-3",
            ["--task", "3"],
            "/data/ckpt/3 auto 3 1 shared",
        ),
    ],
)
def test_the_ranks_are_told_where_and_how_often(
    tmp_path: Path, more: str, args: list[str], expected: str
) -> None:
    names = ["DIR", "EVERY", "KEEP", "ASYNC", "LEVELS"]
    shown = " ".join(f"$SLURMKIT_CHECKPOINT_{name}" for name in names)
    _write_job(tmp_path, more, f"[sh, -c, 'echo {shown}']")
    done = subprocess.run(
        [SLURMKIT, "run", "job.yaml", *args],
        cwd=tmp_path,
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    (run,) = (tmp_path / "runs" / "demo").iterdir()
    said = {
        line.partition("] ")[2] for line in done.stdout.splitlines() if line.startswith("[rank")
    }
    assert said == {expected.format(run=run)}


def test_ctrl_c_lets_every_rank_save(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(_SAVES)
    _write_job(tmp_path, "checkpoint: true", f"[{sys.executable}, train.py]")
    with subprocess.Popen(
        [SLURMKIT, "run", "job.yaml"],
        cwd=tmp_path,
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert "ready" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 1
    (folder,) = tmp_path.glob("runs/demo/*/checkpoints")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "saved-0": "30",
        "saved-1": "30",
    }
