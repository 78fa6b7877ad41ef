"""The epilog where it has nothing to do, or no time: it never keeps a node from the next job."""

import os
import subprocess
from pathlib import Path

import pytest

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
