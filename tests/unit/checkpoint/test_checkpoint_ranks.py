"""Several processes write one step: all of it or nothing, and whoever waits learns why."""

import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.checkpoint.errors import SaveFailedError
from slurmkit.checkpoint.store import CheckpointStore

NUM_RANKS = 5


def fork(run: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run()
        code = 0
    except BaseException:  # noqa: BLE001 (the edge of this process)
        traceback.print_exc()
    finally:
        os._exit(code)


def write_part(folder: Path, step: int, rank: int) -> None:
    writer = CheckpointStore(folder).begin(step)
    with writer.open(f"rank-{rank}/data") as file:
        for _ in range(rank + 1):
            file.write(random.Random(rank).randbytes(1000))
    writer.report(rank, [file.close()], {"rank": rank})


def test_processes_write_their_parts_and_one_commits(folder):
    for step in range(1, 11):
        pids = [fork(lambda s=step, r=rank: write_part(folder, s, r)) for rank in range(NUM_RANKS)]
        writer = CheckpointStore(folder).begin(step)
        reports = writer.await_reports(NUM_RANKS, 30)
        manifest = writer.commit(reports)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * NUM_RANKS
        assert [report.meta["rank"] for report in reports] == list(range(NUM_RANKS))
        assert manifest.world_size == NUM_RANKS
        assert [file.size_bytes for file in manifest.files] == [1000 * (r + 1) for r in range(5)]
        assert CheckpointStore(folder).verify(step) == manifest


def test_the_reason_of_a_rank_reaches_who_waits_at_once(folder):
    def fail() -> None:
        CheckpointStore(folder).begin(1).fail(3, ValueError("the tensor is on fire"))

    pid = fork(fail)
    writer = CheckpointStore(folder).begin(1)
    start = time.monotonic()
    with pytest.raises(SaveFailedError, match=r"rank 3 on .* the tensor is on fire"):
        writer.await_reports(NUM_RANKS, 60)
    assert time.monotonic() - start < 20
    assert os.waitpid(pid, 0)[1] == 0
    assert list(folder.iterdir()) == []


def test_a_rank_that_was_killed_is_named_when_the_time_is_over(folder):
    write_part(folder, 1, 0)
    pid = fork(lambda: (CheckpointStore(folder).begin(1).open("x"), signal.pause()))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    writer = CheckpointStore(folder).begin(1)
    with pytest.raises(SaveFailedError, match=r"ranks 1, 2 did not finish .* within 0.1 s"):
        writer.await_reports(3, 0.1)
    assert list(folder.iterdir()) == []


def test_waiting_ends_when_the_caller_has_to_go(folder):
    writer = CheckpointStore(folder).begin(1)
    answers = iter([True, True, False])
    with pytest.raises(SaveFailedError, match="given up while rank 0 had yet to report"):
        writer.await_reports(1, 60, lambda: next(answers))


def test_a_late_rank_of_an_aborted_save_cannot_spoil_the_next_try(folder):
    store = CheckpointStore(folder)
    late = store.begin(1)
    store.begin(1).abort()
    again = store.begin(1)
    with pytest.raises(SaveFailedError, match="given up and removed"):
        late.open("a")
    with pytest.raises(SaveFailedError, match="given up and removed"):
        late.report(0, [])
    assert list(again.path.iterdir()) == []


def test_a_report_of_a_rank_that_does_not_exist_is_an_error(folder):
    store = CheckpointStore(folder)
    store.begin(1).report(7, [])
    with pytest.raises(SaveFailedError, match="rank 7, but there are 2 ranks"):
        store.begin(1).await_reports(2, 5)


def test_aborting_twice_or_after_a_commit_harms_nothing(folder, save):
    store = CheckpointStore(folder)
    writer = store.begin(1)
    writer.report(0, [])
    writer.commit(writer.await_reports(1, 5))
    writer.abort()
    writer.abort()
    assert store.dir.steps() == [1]
