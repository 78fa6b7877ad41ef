"""Somebody dies during a save, or the disk is full: the last commit stays, and nothing is left."""

import contextlib
import os
import resource
import runpy
import signal
import time
from pathlib import Path

import pytest
import torch

from slurmkit.checkpoint.errors import NoSpaceError
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors import TensorCheckpointer, WriterDiedError


def gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def wait_for(condition, what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_writer_fails_one_save_only(on_ranks, victim):
    on_ranks("writer_killed", 2, victim=victim)


def test_a_rank_that_dies_takes_its_writer_along(on_ranks, tmp_path):
    on_ranks("rank_dies", 2, expect=9)
    for rank in (0, 1):
        pid = int((tmp_path / f"writer-{rank}").read_text())
        wait_for(lambda pid=pid: gone(pid), f"the end of writer {pid}")


def test_nothing_is_left_of_a_killed_rank(server, on_ranks, tmp_path):
    scenario = Path(__file__).parent / "scenarios.py"
    told = {
        "what": "train_until_killed",
        "rank": 0,
        "num_ranks": 1,
        "group": False,
        "folder": str(tmp_path),
        "meeting": "",
    }
    segments = set(Path("/dev/shm").iterdir())
    rank = server.Process(
        target=runpy.run_path,
        args=(str(scenario),),
        kwargs={"init_globals": {"TOLD": told}, "run_name": "scenario"},
    )
    rank.start()
    wait_for((tmp_path / "saving-0").exists, "the first commit")
    rank.kill()
    rank.join()
    pid = int((tmp_path / "writer-0").read_text())
    wait_for(lambda: gone(pid), "the end of the writer")
    assert set(Path("/dev/shm").iterdir()) <= segments
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path / "ckpt"))
    step = checkpointer.newest().step
    assert checkpointer.load(step, {"w": None})["w"].eq(step).all()
    checkpointer.close()


def test_a_writer_that_dies_idle_is_replaced(tmp_path):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path))
    os.kill(checkpointer.writer_pid, signal.SIGKILL)
    pid = checkpointer.writer_pid
    wait_for(lambda: gone(pid), "its end")
    checkpointer.save(1, {"w": torch.ones(3)}, {})
    assert checkpointer.wait(30).error is None
    assert checkpointer.writer_pid != pid
    checkpointer.close()


def test_the_writer_ignores_the_signals_that_are_meant_for_the_training(tmp_path):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path))
    os.kill(checkpointer.writer_pid, signal.SIGTERM)  # before it is up
    checkpointer.save(1, {"w": torch.ones(3)}, {})
    assert checkpointer.wait(30).error is None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(checkpointer.writer_pid, number)
    checkpointer.save(2, {"w": torch.ones(3)}, {})
    assert checkpointer.wait(30).error is None
    checkpointer.close()


def test_a_full_disk_fails_the_save_and_keeps_the_last_commit(tmp_path):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path))
    state = {"w": torch.ones(1 << 20)}
    checkpointer.save(1, state, {})
    assert checkpointer.wait(30).error is None
    limits = resource.prlimit(checkpointer.writer_pid, resource.RLIMIT_FSIZE, (1 << 20, -1))
    checkpointer.save(2, state, {})
    result = checkpointer.wait(30)
    assert isinstance(result.error, NoSpaceError), result
    assert checkpointer.store.dir.steps() == [1]
    assert checkpointer.store.dir.temporaries() == []
    resource.prlimit(checkpointer.writer_pid, resource.RLIMIT_FSIZE, limits)
    checkpointer.save(3, state, {})
    assert checkpointer.wait(30).error is None
    checkpointer.close()


def test_memory_that_is_refused_fails_the_save_and_not_those_after_it(tmp_path):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path))
    state = {"w": torch.ones(1 << 20)}
    limits = resource.prlimit(0, resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))  # counts for a memfd, too
    try:
        for step in (1, 2):
            checkpointer.save(step, state, {})
            result = checkpointer.wait(30)
            assert result.error is not None, result
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    checkpointer.save(3, state, {})
    assert checkpointer.wait(30).error is None
    assert checkpointer.store.dir.steps() == [3]
    checkpointer.close()


def test_an_abandoned_save_does_not_count(tmp_path):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path))
    checkpointer.save(1, {"w": torch.ones(3)}, {})
    assert checkpointer.wait(30).error is None
    pid = checkpointer.writer_pid
    os.kill(pid, signal.SIGSTOP)
    checkpointer.save(2, {"w": torch.ones(3)}, {})
    assert checkpointer.in_flight == 2
    assert checkpointer.wait(0.05) is None
    assert checkpointer.poll() is None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: checkpointer.in_flight is None or checkpointer.poll() is None, "word")
    result = None
    while result is None:
        result = checkpointer.poll()
    assert isinstance(result.error, WriterDiedError)
    assert checkpointer.newest().step == 1
    checkpointer.close()
