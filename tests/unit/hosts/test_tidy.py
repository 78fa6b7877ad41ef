"""Runs whose starter was killed are known, tidied on this machine, and forgotten once they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

from slurmkit.hosts.model import Host, Hosts
from slurmkit.hosts.tidy import Tidied, all_tidy, note_start, noted, tidy, tidy_after_dead
from slurmkit.supervise.tidying import summary

HERE = Host(name="here", address="127.0.0.1")
FAR = Host(name="far", address="192.0.2.1")


def sleeper(run_id: str) -> "subprocess.Popen[bytes]":
    """Start what a rank is: a process with the run's mark."""
    program = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    started = subprocess.Popen(
        program, env={**os.environ, "SLURMKIT_RUN_ID": run_id}, stdout=subprocess.PIPE
    )
    assert started.stdout is not None
    started.stdout.read(1)  # it has become the program: its environment can be seen
    started.stdout.close()
    return started


def test_the_processes_of_a_run_are_ended_on_its_hosts() -> None:
    run_id = f"run-{os.getpid()}-a"
    rank, other = sleeper(run_id), sleeper(f"{run_id}b")
    try:
        (found,) = tidy(Hosts(hosts=[HERE]), [HERE], run_id, 1.0)
        assert rank.wait(10) == -15
        assert [line.split()[0] for line in found.ended] == [str(rank.pid)]
        assert other.poll() is None
    finally:
        for process in (rank, other):
            process.kill()
            process.wait()


def test_a_host_that_is_not_reached_stays_to_be_tidied() -> None:
    hosts = Hosts(hosts=[FAR], connect_timeout_s=1)
    (found,) = tidy(hosts, [FAR], "run-none", 1.0)
    assert found.left[0].startswith("not reached: ")
    assert not all_tidy([found])
    assert all_tidy([Tidied("here", removed=("x",))])


def test_only_the_dead_are_cleaned_after(tmp_path: Path) -> None:
    hosts = Hosts(hosts=[HERE])
    alive = note_start(tmp_path, "20260101-alive", hosts, [HERE])
    dead = note_start(tmp_path, "20260102-dead", hosts, [HERE])
    elsewhere = note_start(tmp_path, "20260103-elsewhere", hosts, [HERE])
    for path, values in ((dead, {"start": 1}), (elsewhere, {"host": "other", "start": 1})):
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    assert [run_id for run_id, _ in tidy_after_dead(tmp_path)] == ["20260102-dead"]
    assert [path for path, _ in noted(tmp_path)] == [alive, elsewhere]


def test_what_was_done_is_one_sentence_or_nothing() -> None:
    assert summary([], [], []) == ""
    assert summary(["7 python"], ["/dev/shm/nccl-a", "SysV segment 3"], []) == (
        "1 processes ended, 2 files and segments removed"
    )
