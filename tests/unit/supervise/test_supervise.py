"""``slurmkit supervise`` as a real process, with shell scripts that speak like launchers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import LedgerWriter, Record, read_ledger
from slurmkit.rundir.secretfile import read_secrets, write_secrets

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the supervisor of the run in tmp_path over a bash script."""

    def run(script: str, *options: str, **env: str) -> "subprocess.Popen[bytes]":
        base = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        command = [sys.executable, "-m", "slurmkit", "supervise", str(tmp_path), *options]
        return subprocess.Popen(
            [*command, "--", "bash", "-c", script],
            env={**base, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return run


def _records(tmp_path: Path) -> list[Record]:
    return read_ledger(tmp_path / "ledger.jsonl")


def test_a_good_run(start: Start, tmp_path: Path) -> None:
    script = 'printf "0: a\\n1: $MASTER_ADDR:$MASTER_PORT\\n0: b\\n"; echo "srun: hm" >&2'
    said, errors = start(script).communicate(timeout=60)
    life, started, step, ended = _records(tmp_path)
    assert life.event == "incarnation_started"
    where = step.fields["rendezvous"]
    assert said.decode() == f"[rank 0] a\n[rank 1] {where}\n[rank 0] b\nsrun: hm\n"
    assert errors == b""
    assert started.fields["command"][0] == "bash"
    assert (ended.fields["exit_code"], ended.fields["state"]) == (0, "completed")
    folder = tmp_path / "logs" / "attempt-1"
    assert (folder / "rank-00000.log").read_text() == "a\nb\n"
    assert (folder / "srun.log").read_text() == "srun: hm\n"
    assert (folder / "merged.log").read_bytes() == said
    assert (tmp_path / "ended").exists()


def test_the_port_is_held_while_the_launcher_runs(start: Start) -> None:
    said, _ = start("echo 0: $(grep -c slurmkit/port/$MASTER_PORT /proc/net/unix)").communicate()
    assert said == b"[rank 0] 1\n"


def test_what_the_launcher_is_told(start: Start, tmp_path: Path) -> None:
    script = 'echo "0: $SLURMKIT_ATTEMPT $SLURMKIT_RUN_DIR $SLURMKIT_RENDEZVOUS_HOST $MASTER_ADDR"'
    for attempt in (1, 2):
        said, _ = start(script, SLURMD_NODENAME="node7").communicate()
        assert said.decode() == f"[rank 0] {attempt} {tmp_path} node7 node7\n"


def test_a_failing_rank_is_the_cause(start: Start, tmp_path: Path) -> None:
    script = """
    echo "2: working"
    echo "srun: error: n1: task 1: Exited with exit code 1" >&2
    echo "1: RuntimeError: Connection closed by peer" >&2
    echo "srun: error: n2: task 2: Exited with exit code 7" >&2
    echo "2: Traceback (most recent call last):" >&2
    echo '2:   File "train.py", line 3, in <module>' >&2
    echo "2: ValueError: boom" >&2
    echo "srun: error: n1: tasks 0,3: Killed" >&2
    exit 137
    """
    process = start(script)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 137
    why = "rank 2 on n2 exited with code 7: ValueError: boom (train.py:3)"
    assert errors.decode() == f"slurmkit: {why}\n"
    exits = [r.fields for r in _records(tmp_path) if r.event == "task_exited"]
    assert [(e["rank"], e["consequence"]) for e in exits] == [
        (1, False),
        (2, False),
        (0, True),
        (3, True),
    ]
    ended = _records(tmp_path)[-1].fields
    assert (ended["state"], ended["reason"]) == ("failed", why)
    assert ended["root_cause"]["rank"] == 2
    assert ended["root_cause"]["host"] == "n2"


def test_a_launcher_that_cannot_start_its_step(start: Start, tmp_path: Path) -> None:
    script = 'echo "srun: error: Unable to create step: Invalid account" >&2; exit 1'
    _, errors = start(script).communicate(timeout=60)
    ended = _records(tmp_path)[-1].fields
    assert ended["reason"] == "srun: error: Unable to create step: Invalid account"
    assert ended["root_cause"] is None
    assert b"Invalid account" in errors


def test_a_command_without_labels(start: Start, tmp_path: Path) -> None:
    process = start("printf 'half a line'; exit 3", "--labels", "none")
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (3, b"half a line")
    ended = _records(tmp_path)[-1].fields
    assert ended["root_cause"]["reason"] == "half a line"


def test_a_missing_launcher_is_127(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slurmkit", "supervise", tmp_path, "--", "no-such-launcher"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 127
    assert b"cannot run no-such-launcher" in done.stderr
    assert _records(tmp_path)[-1].fields["state"] == "failed"


def test_secrets_are_removed_and_never_repeated(start: Start, tmp_path: Path) -> None:
    write_secrets(tmp_path, {"TOKEN": "s3cret"})
    script = 'echo "0: token s3""cret"; echo "srun: error: n1: task 0: Killed"; exit 9'
    _, errors = start(script).communicate(timeout=60)
    assert read_secrets(tmp_path) is None
    assert _records(tmp_path)[-1].event == "secrets_removed"
    assert "s3cret" not in (tmp_path / "ledger.jsonl").read_text()
    assert b"token ***" in errors


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_warning_is_passed_on(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    script = (
        f"trap 'echo 0: warned; exit 0' {number.name[3:]}; echo 0: up; while :; do sleep 0.1; done"
    )
    with start(script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"[rank 0] up\n"
        process.send_signal(number)
        assert process.stdout.read() == b"[rank 0] warned\n"
    assert process.returncode == 0
    assert _records(tmp_path)[-1].fields["state"] == "completed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_ends_it_in_good_order(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    write_secrets(tmp_path, {"TOKEN": "s3cret"})
    with start("trap 'echo 0: bye; exit 5' TERM INT; echo 0: up; while :; do sleep 0.1; done") as p:
        assert p.stdout
        assert p.stdout.readline() == b"[rank 0] up\n"
        p.send_signal(number)
        assert p.stdout.read() == b"[rank 0] bye\n"
    assert p.returncode == 5
    events = [record.event for record in _records(tmp_path)]
    assert events[2:] == ["step_started", "attempt_ending", "attempt_ended", "secrets_removed"]
    assert _records(tmp_path)[4].fields["state"] == "cancelled"
    assert read_secrets(tmp_path) is None


_STUBBORN = """
import asyncio, sys
from slurmkit.supervise.launcher import Launcher
class Reader:
    def output(self, chunk): sys.stdout.buffer.write(chunk); sys.stdout.flush()
    def idle(self): pass
async def main():
    launcher = Launcher(["bash", "-c", sys.argv[1]], {}, Reader())
    await asyncio.to_thread(sys.stdin.readline)
    launcher.signal(15)
    await asyncio.sleep(0.2)
    print("alive", launcher.alive(), flush=True)
    launcher.kill()
    print(await launcher.wait())
    await launcher.drained()
asyncio.run(main())
"""


def test_a_launcher_that_ignores_term_is_killed_with_its_children() -> None:
    script = "trap '' TERM; echo up; /bin/sleep 300 & while :; do /bin/sleep 0.1; done"
    command = [sys.executable, "-c", _STUBBORN, script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "up\n"
        before = time.monotonic()
        said, _ = process.communicate("go\n", timeout=30)
        assert said == "alive True\n-9\n"
        assert time.monotonic() - before < 1.9  # the child that held the output open is gone, too


def test_term_at_once_is_not_lost(start: Start, tmp_path: Path) -> None:
    """From the first ledger record on, a signal finds a handler."""
    with start("sleep 300") as process:
        while not (tmp_path / "ledger.jsonl").exists() or not _records(tmp_path):
            time.sleep(0.001)
        process.terminate()
        assert process.wait(timeout=30) == 143


def test_a_newer_incarnation_takes_over(start: Start, tmp_path: Path) -> None:
    write_secrets(tmp_path, {"TOKEN": "s3cret"})
    script = "echo 0: up; read -t 2 < <(sleep 3); echo 'srun: error: n1: task 0: Killed'; sleep 300"
    with start(script) as old:
        assert old.stdout
        old.stdout.readline()
        new = LedgerWriter(RunDir(tmp_path).element(), "7.1.new")
        new.append("attempt_started", 2)
        assert old.wait(timeout=60) != 0
        assert old.stderr
        assert b"now belongs to incarnation 7.1.new" in old.stderr.read()
    assert [r.incarnation for r in _records(tmp_path)][-1] == "7.1.new"
    assert read_secrets(tmp_path) == {"TOKEN": "s3cret"}


def test_an_array_keeps_its_elements_apart(start: Start, tmp_path: Path) -> None:
    write_secrets(tmp_path, {"TOKEN": "s3cret"})
    for task in ("0", "5"):
        env = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        start("echo 0: $SLURM_ARRAY_TASK_ID", **env).communicate(timeout=60)
        log = tmp_path / "array" / task / "logs" / "attempt-1" / "rank-00000.log"
        assert log.read_text() == f"{task}\n"
        assert (read_secrets(tmp_path) is None) == (task == "5")


def test_the_launcher_dies_with_the_supervisor(start: Start, tmp_path: Path) -> None:
    with start(f"trap 'touch {tmp_path}/told; exit' TERM; echo 0: up; sleep 300 & wait") as process:
        assert process.stdout
        process.stdout.readline()
        process.kill()
    deadline = time.monotonic() + 10
    while not (tmp_path / "told").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "told").exists()


def test_a_daemon_left_behind_is_not_waited_for(start: Start, tmp_path: Path) -> None:
    started = time.monotonic()
    with start("setsid sleep 20 & echo 0: done") as process:
        assert process.wait(timeout=15) == 0
        assert time.monotonic() - started < 10


def test_a_full_disk_does_not_end_the_run(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "attempt-1"
    script = f"ln -sf /dev/full {folder}/rank-00000.log; echo 0: lost; echo 1: kept"
    process = start(script)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said == b"[rank 0] lost\n[rank 1] kept\n"
    assert b"5 bytes of logs are lost" in errors


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["x"], "needs -- COMMAND"),
        (["--", "true"], "one run directory"),
        (["a", "b", "--", "true"], "one run directory"),
        (["a", "--"], "a command"),
        (
            ["a", "--labels", "odd", "--", "true"],
            "choose one of srun, torchrun, openmpi, hydra, none",
        ),
        (["a", "--what", "--", "true"], "no option --what"),
    ],
)
def test_a_wrong_command_line(args: list[str], words: str) -> None:
    command = [sys.executable, "-m", "slurmkit", "supervise", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_run_directory_that_cannot_be_written() -> None:
    command = [sys.executable, "-m", "slurmkit", "supervise", "/proc/none", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("slurmkit: error: cannot write the run directory /proc/none")


def test_help() -> None:
    command = [sys.executable, "-m", "slurmkit", "supervise", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: slurmkit supervise")
