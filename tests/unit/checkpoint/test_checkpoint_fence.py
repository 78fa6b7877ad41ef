"""Two attempts at one folder: once the fence has moved, the old one never commits."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from slurmkit.checkpoint import fence, writer
from slurmkit.checkpoint.fence import StaleTokenError
from slurmkit.checkpoint.layout import CheckpointDir
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.writer import StepWriter


def fill(step_writer: StepWriter, data: bytes = b"x") -> None:
    with step_writer.open("a") as file:
        file.write(data)
    step_writer.report(0, [file.close()])


def take_over(folder: Path, token: str) -> list[int]:
    """What a new attempt does before it looks at the steps, and what it then sees."""
    fence.write_fence(folder, token)
    CheckpointDir(folder).sweep()
    return CheckpointDir(folder).steps()


def test_the_token_says_who_may_commit(folder):
    assert fence.holder(folder) is None
    with pytest.raises(StaleTokenError, match="its fence is gone"):
        fence.check(folder, "a/1")
    fence.write_fence(folder / "made", "a/1")
    assert fence.holder(folder / "made") == "a/1"
    fence.check(folder / "made", "a/1")
    fence.write_fence(folder / "made", "a/2")
    with pytest.raises(StaleTokenError, match="attempt a/2 has taken over"):
        fence.check(folder / "made", "a/1")


@pytest.mark.parametrize("token", ["", " ", "a\nb", "a/1\n"])
def test_a_token_is_one_line(folder, token):
    with pytest.raises(ValueError, match="is not a fence token"):
        fence.write_fence(folder, token)


def test_a_stale_attempt_cannot_begin_and_leaves_nothing(folder):
    store = CheckpointStore(folder, token="a/1")
    take_over(folder, "a/2")
    with pytest.raises(StaleTokenError):
        store.begin(1)
    assert store.dir.temporaries() == []


def test_a_save_that_was_begun_before_the_fence_moved_is_swept(folder):
    fence.write_fence(folder, "a/1")
    store = CheckpointStore(folder, token="a/1")
    stale = store.begin(1)
    fill(stale)
    file = stale.open("half")
    assert take_over(folder, "a/2") == []

    file.write(b"goes nowhere")  # a rank that has not noticed
    file.close()
    with pytest.raises(StaleTokenError):
        stale.open("b")
    with pytest.raises(StaleTokenError):
        stale.report(1, [])
    with pytest.raises(StaleTokenError):
        stale.await_reports(1, 1)
    with pytest.raises(StaleTokenError):
        stale.commit([])
    assert [path.name for path in folder.iterdir()] == ["fence"]


@pytest.mark.parametrize("moment", ["before the rename", "after the rename"])
def test_a_takeover_around_the_last_rename(folder, monkeypatch, moment):
    """The instant that matters: the fence was checked for the last time, and then it moves."""
    fence.write_fence(folder, "a/1")
    stale = CheckpointStore(folder, token="a/1").begin(7)
    fill(stale)
    real = writer.put_in_place
    seen = []

    def raced(temporary: Path, final: Path, manifest: bytes) -> None:
        if moment == "before the rename":
            seen.append(take_over(folder, "b/1"))
        real(temporary, final, manifest)
        if moment == "after the rename":
            seen.append(take_over(folder, "b/1"))

    monkeypatch.setattr(writer, "put_in_place", raced)
    if moment == "before the rename":
        with pytest.raises(StaleTokenError):
            stale.commit(stale.await_reports(1, 5))
        assert seen == [[]]
        assert CheckpointDir(folder).folders() == []
    else:
        stale.commit(stale.await_reports(1, 5))
        assert seen == [[7]]  # the new attempt knows this step
    assert CheckpointDir(folder).temporaries() == []


def test_the_fence_moves_during_the_commit_and_nobody_has_swept_yet(folder, monkeypatch):
    fence.write_fence(folder, "a/1")
    stale = CheckpointStore(folder, token="a/1").begin(7)
    fill(stale)
    real = writer.place_manifest

    def raced(folder_fd: int, data: bytes) -> None:
        real(folder_fd, data)
        fence.write_fence(folder, "b/1")

    monkeypatch.setattr(writer, "place_manifest", raced)
    with pytest.raises(StaleTokenError):
        stale.commit(stale.await_reports(1, 5))
    assert [path.name for path in folder.iterdir()] == ["fence"]


def test_a_stale_attempt_prunes_and_quarantines_nothing(folder, save):
    fence.write_fence(folder, "a/1")
    stale = CheckpointStore(folder, token="a/1", keep=1)
    for step in (1, 2, 3):
        save(stale, step, {"a": b"1"})
    (stale.dir.step_path(3) / "a").unlink()
    take_over(folder, "b/1")
    with pytest.raises(StaleTokenError):
        stale.prune()
    with pytest.raises(StaleTokenError):
        stale.newest()
    assert stale.dir.folders() == [1, 2, 3]


def commit_until_stale(folder: Path, token: str, sink: int) -> None:
    """Save steps as fast as can be until somebody takes over; exit 3 says that it was noticed."""
    step = 0
    store = CheckpointStore(folder, token=token, keep=10**6)
    while True:
        step += 1
        try:
            step_writer = store.begin(step)
            fill(step_writer, token.encode())
            step_writer.commit(step_writer.await_reports(1, 10))
        except StaleTokenError:
            os._exit(3)
        if step == 1:
            os.write(sink, b"1")


def race(folder: Path, num_takeovers: int) -> None:
    rng = random.Random(4711)
    for number in range(num_takeovers):
        root = folder / str(number)
        fence.write_fence(root, "stale/1")
        source, sink = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                commit_until_stale(root, "stale/1", sink)
            finally:
                os._exit(1)
        assert os.read(source, 1) == b"1"  # it is at work
        os.close(source)
        os.close(sink)
        time.sleep(rng.uniform(0.0, 0.002))  # the instant is what this test varies
        seen = take_over(root, "new/1")
        _, status = os.waitpid(pid, 0)
        assert os.WEXITSTATUS(status) == 3, f"takeover {number}: not a clean end"
        assert CheckpointDir(root).steps() == seen, f"takeover {number}: a step came later"
        store = CheckpointStore(root, token="new/1")
        newest = store.newest()
        assert newest is not None
        assert newest.step == len(seen)
        # What the stale one left after the sweep never counts, and the next sweep takes it
        store.dir.sweep()
        assert store.dir.temporaries() == []


def test_takeovers_at_random_instants(folder):
    race(folder, 80)


@pytest.mark.long
def test_2000_takeovers_at_random_instants(folder):
    race(folder, 2000)


def test_two_attempts_in_a_tug_of_war_never_both_own_a_step(folder):
    """Threads take the folder from each other; each step was seen by who came after."""
    fence.write_fence(folder, "0/1")
    errors: list[str] = []
    lock = threading.Lock()  # one supervisor at a time, as Slurm starts them
    stop = time.monotonic() + 1
    rounds = 0

    def contend(name: str) -> None:
        nonlocal rounds
        number = 0
        while time.monotonic() < stop or rounds < 30:
            number += 1
            token = f"{name}-{number}/1"
            with lock:
                seen = take_over(folder, token)
                rounds += 1
            store = CheckpointStore(folder, token=token, keep=10**6)
            step = (seen[-1] if seen else 0) + 1
            try:
                for offset in range(3):
                    step_writer = store.begin(step + offset)
                    fill(step_writer, token.encode())
                    step_writer.commit(step_writer.await_reports(1, 10))
            except StaleTokenError:
                continue
            except BaseException as error:  # noqa: BLE001 (reported by the main thread)
                errors.append(repr(error))

    threads = [threading.Thread(target=contend, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store = CheckpointStore(folder)
    steps = store.dir.steps()
    assert steps == list(range(1, len(steps) + 1))
    writers = [store.verify(step).incarnation for step in steps]
    runs = [name for index, name in enumerate(writers) if index == 0 or writers[index - 1] != name]
    assert len(runs) == len(set(runs)), "an attempt committed again after another had taken over"
