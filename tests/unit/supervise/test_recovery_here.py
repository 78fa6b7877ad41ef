"""Supervised recovery as a real process without Slurm: bash scripts that speak like launchers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.checkpoint.fence import holder
from slurmkit.rundir.ledger import Record, read_ledger

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the supervisor of the run in tmp_path, with remedies, over a bash script."""

    def run(script: str, *options: str, **env: str) -> "subprocess.Popen[bytes]":
        base = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        command = [sys.executable, "-m", "slurmkit", "supervise", str(tmp_path)]
        return subprocess.Popen(
            [*command, "--on-node-failure", "requeue", *options, "--", "bash", "-c", script],
            env={**base, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return run


def _records(tmp_path: Path) -> list[Record]:
    return read_ledger(tmp_path / "ledger.jsonl")


def _decisions(tmp_path: Path) -> list[str]:
    return [r.fields["action"] for r in _records(tmp_path) if r.event == "decision"]


_BUG = """
echo "srun: error: n1: task 1: Exited with exit code 1"
echo "1: Traceback (most recent call last):"
echo '1:   File "train.py", line 3, in <module>'
echo "1: ValueError: boom"
exit 1
"""


def test_a_bug_is_started_twice_and_stops_with_its_reason(start: Start, tmp_path: Path) -> None:
    process = start(_BUG)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert _decisions(tmp_path) == ["relaunch", "stop"]
    assert (tmp_path / "logs" / "attempt-2" / "rank-00001.log").read_text().endswith("boom\n")
    failures = [r.fields for r in _records(tmp_path) if r.event == "failure"]
    assert [failure["kind"] for failure in failures] == ["application", "application"]
    assert failures[0]["key"] == failures[1]["key"] != ""
    assert b"stop: the same failure again, with no checkpoint in between" in errors
    assert b"ValueError: boom" in errors


def test_the_key_outlives_the_process(start: Start, tmp_path: Path) -> None:
    start(_BUG).communicate(timeout=60)
    process = start(_BUG)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert _decisions(tmp_path) == ["relaunch", "stop", "stop"]


def test_a_bug_beside_ranks_that_saved_is_still_a_bug(start: Start, tmp_path: Path) -> None:
    tail = 'echo "srun: error: n1: tasks 0,2: Exited with exit code 75"; exit 75'
    process = start(_BUG.replace("exit 1\n", tail))
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert _decisions(tmp_path) == ["relaunch", "stop"]


def test_a_transient_fault_is_started_again(start: Start, tmp_path: Path) -> None:
    script = f"""
    [ $SLURMKIT_ATTEMPT = 3 ] && exit 0
    [ $SLURMKIT_FENCE = "$SLURMKIT_INCARNATION/$SLURMKIT_ATTEMPT" ] || exit 9
    [ "$(cat {tmp_path}/checkpoints/fence)" = $SLURMKIT_FENCE ] || exit 8
    echo "srun: error: n1: task 1: Killed"
    exit 137
    """
    process = start(script)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert _decisions(tmp_path) == ["relaunch", "relaunch", "done"]
    assert str(holder(tmp_path / "checkpoints")).endswith("/3")
    assert _records(tmp_path)[-1].event != "checkpoint_committed"


def test_faults_without_a_checkpoint_use_the_budget_up(start: Start, tmp_path: Path) -> None:
    script = 'echo "srun: error: n1: task 1: Killed"; exit 137'
    process = start(script, "--max-restarts", "2")
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert _decisions(tmp_path) == ["relaunch", "relaunch", "stop"]


def test_a_commit_on_disk_refills_the_budget(start: Start, tmp_path: Path) -> None:
    """Also when no agent has told of it."""
    fields = '"size_bytes": 4, "incarnation": "i", "world_size": 2, "save_s": 0.5, "time": 1.0'
    (tmp_path / "manifest").write_text(f'{{"step": ATTEMPT, "attempt": ATTEMPT, {fields}}}')
    script = """
    [ $SLURMKIT_ATTEMPT = 6 ] && exit 0
    step=$SLURMKIT_CHECKPOINT_DIR/step-000000000$SLURMKIT_ATTEMPT
    mkdir -p $step; a=$SLURMKIT_ATTEMPT
    sed "s/ATTEMPT/$a/g" $SLURMKIT_RUN_DIR/manifest > $step/manifest.json
    echo "srun: error: n1: task 1: Killed"; exit 137
    """
    process = start(script, "--max-restarts", "1", SLURMKIT_CHECKPOINT_DIR="ckpt")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert _decisions(tmp_path) == [*["relaunch"] * 5, "done"]
    commits = [r.fields["step"] for r in _records(tmp_path) if r.event == "checkpoint_committed"]
    assert commits == [1, 2, 3, 4, 5]


def test_a_late_start_of_a_complete_run_ends_at_once(start: Start, tmp_path: Path) -> None:
    start("echo 0: once").communicate(timeout=60)
    before = (tmp_path / "ledger.jsonl").read_bytes()
    process = start("echo 0: twice")
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert b"the run is complete" in errors
    assert (tmp_path / "ledger.jsonl").read_bytes() == before
    assert _records(tmp_path)[-1].event in ("run_completed", "secrets_removed")


def test_unfinished_checkpoints_are_swept(start: Start, tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / "step-0000000005.tmp-local.0.x.1"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    _, errors = start("true").communicate(timeout=60)
    assert not left.exists()
    assert b"removed 1 unfinished checkpoints" in errors


def test_a_warning_is_passed_on_and_the_job_ends_where_nobody_takes_over(
    start: Start, tmp_path: Path
) -> None:
    script = "trap 'echo 0: saved; exit 75' USR2; echo 0: up; while :; do sleep 0.1; done"
    with start(script, SLURMKIT_WARNING_SIGNAL="USR2") as process:
        assert process.stdout
        assert process.stdout.readline() == b"[rank 0] up\n"
        process.send_signal(signal.SIGUSR2)
        assert process.stdout.read() == b"[rank 0] saved\n"
    assert process.returncode == 75
    events = [record.event for record in _records(tmp_path)]
    assert "warned" in events
    assert [r.fields["state"] for r in _records(tmp_path) if r.event == "attempt_ended"] == [
        "stopped"
    ]


def test_term_before_the_start_starts_nothing(start: Start, tmp_path: Path) -> None:
    with start("trap '' TERM; echo 0: up; sleep 300", "--labels", "srun") as process:
        process.terminate()
        assert process.wait(timeout=60) != 0
