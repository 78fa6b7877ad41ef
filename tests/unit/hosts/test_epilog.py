"""The epilog where it has nothing to do, or no time: it never keeps a node from the next job."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurmkit.launch import leftovers
from slurmkit.resources import shipped_dir

EPILOG = shipped_dir("plugins") / "epilog" / "slurmkit-epilog.sh"


def run(tmp_path: Path, **values: str) -> tuple[int, str]:
    """Run it with these variables alone; return its exit code and the line that it has logged."""
    log = tmp_path / "log"
    env = {"SLURMKIT_EPILOG_LOG": str(log), "SLURMKIT_NODE_ENV": "/nonexistent", **values}
    done = subprocess.run([EPILOG], env=env, timeout=60, check=False)
    return done.returncode, log.read_text()


@pytest.mark.parametrize(
    "values",
    [{}, {"SLURM_JOB_ID": "7"}, {"SLURM_JOB_ID": "7; reboot", "SLURM_JOB_UID": "1000"}],
)
def test_without_a_job_nothing_is_done(tmp_path: Path, values: dict[str, str]) -> None:
    code, said = run(tmp_path, **values)
    assert code == 0
    assert said.count("\n") == 1
    assert "nothing done" in said


def test_a_job_that_left_nothing_is_one_line(tmp_path: Path) -> None:
    uid = str(2**31 - 7)  # nobody's
    code, said = run(tmp_path, SLURM_JOB_ID="4000000000", SLURM_JOB_UID=uid)
    assert code == 0
    assert f"job 4000000000 user {uid}: 0 processes ended, 0 files and 0 segments" in said


def test_when_its_time_is_over_it_says_so_and_ends_well(tmp_path: Path) -> None:
    uid = str(2**31 - 7)
    values = {"SLURM_JOB_ID": "7", "SLURM_JOB_UID": uid, "SLURMKIT_EPILOG_DEADLINE_S": "0.001"}
    code, said = run(tmp_path, **values)
    assert code == 0
    assert "gave up after 0.001 s" in said


def test_a_process_of_the_job_that_is_not_the_users_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, "SLURM_JOB_ID": "4000000001"})
    try:
        code, _ = run(tmp_path, SLURM_JOB_ID="4000000001", SLURM_JOB_UID=str(2**31 - 7))
        assert code == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("GRACE_S", "0.5", "SLURMKIT_EPILOG_GRACE_S='0.5' is no whole number: 2 is taken"),
        ("MIN_UID", "1k", "SLURMKIT_EPILOG_MIN_UID='1k' is no whole number: 1000 is taken"),
        ("DEADLINE_S", "soon", "failed with exit code 125"),
    ],
)
def test_a_mistake_in_its_settings_drains_no_node(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    uid = str(2**31 - 7)
    values = {"SLURM_JOB_ID": "7", "SLURM_JOB_UID": uid, f"SLURMKIT_EPILOG_{name}": value}
    code, said = run(tmp_path, **values)
    assert code == 0
    assert words in said


# What watches over a server and starts it again: the KILL after the grace comes too late for that.
_WATCHDOG = """
import signal, subprocess
signal.signal(signal.SIGTERM, lambda *_: None)
print("up", flush=True)
while True:
    subprocess.run(["sleep", "600"])
"""


def test_what_a_watchdog_starts_anew_is_ended_too(tmp_path: Path) -> None:
    job = "4000000002"
    watchdog = subprocess.Popen(
        [sys.executable, "-c", _WATCHDOG],
        env={**os.environ, "SLURM_JOB_ID": job},
        stdout=subprocess.PIPE,
    )
    try:
        assert watchdog.stdout is not None
        watchdog.stdout.readline()
        watchdog.stdout.close()
        values = {"SLURMKIT_EPILOG_GRACE_S": "1", "SLURMKIT_EPILOG_MIN_UID": str(2**31)}
        # slurmd names the context; by that an epilog knows itself and its like.
        values |= {"SLURM_SCRIPT_CONTEXT": "epilog_slurmd", "SLURM_JOB_UID": str(os.getuid())}
        code, said = run(tmp_path, SLURM_JOB_ID=job, **values)
        assert code == 0, said
        left = leftovers.marked([f"SLURM_JOB_ID={job}".encode()], os.getuid())
        assert not left
    finally:
        watchdog.kill()
        watchdog.wait()
        for pid in leftovers.marked([f"SLURM_JOB_ID={job}".encode()], os.getuid()):
            os.kill(pid, signal.SIGKILL)
