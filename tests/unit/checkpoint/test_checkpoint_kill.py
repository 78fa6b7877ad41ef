"""SIGKILL at any instant leaves a folder that loads, and costs one interval at most."""

import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.checkpoint import fence
from slurmkit.checkpoint.store import CheckpointStore

NUM_RANKS = 2
# What a save asks of the operating system; dying before each of these is dying anywhere.
CALLS = ("open", "mkdir", "write", "fsync", "close", "rename", "unlink", "rmdir", "listdir", "stat")


def payload(step: int, rank: int) -> bytes:
    return random.Random(step * 100 + rank).randbytes(3000)


def save(store: CheckpointStore, step: int) -> None:
    writers = [store.begin(step) for _ in range(NUM_RANKS)]
    for rank, writer in enumerate(writers):
        with writer.open(f"part/rank-{rank}") as file:
            file.write(payload(step, rank))
        writer.report(rank, [file.close()])
    writers[0].commit(writers[0].await_reports(NUM_RANKS, 10))


def life(folder: Path, token: str, say: Callable[[int], object], num_steps: int) -> None:
    """One incarnation: fence, sweep, find the newest, go on from there."""
    fence.write_fence(folder, token)
    store = CheckpointStore(folder, token=token, keep=2)
    store.dir.sweep()
    newest = store.newest()
    start = newest.step if newest else 0
    say(0)  # at work
    for step in range(start + 1, start + 1 + num_steps):
        save(store, step)
        say(step)
        store.prune()


def in_child(run: Callable[[], object]) -> int:
    """Start a child that runs a function and ends without pytest noticing; return its pid."""
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


def last_said(pipe: int, data: bytes) -> int | None:
    while chunk := os.read(pipe, 65536):
        data += chunk
    return int.from_bytes(data[-4:], "big") if data else None


def assert_loads(folder: Path, said: int | None, before: int) -> int:
    """The newest step is whole and is the last one said to be committed, or the one after."""
    store = CheckpointStore(folder, token=fence.holder(folder))
    steps = store.dir.folders()
    newest = store.newest()
    assert not store.dir.quarantine_path.exists(), "a kill damaged a committed step"
    found = newest.step if newest else 0
    last = said or before
    assert last <= found <= last + 1, (steps, said, before)
    if newest:
        for rank in range(NUM_RANKS):
            data = (newest.folder / f"part/rank-{rank}").read_bytes()
            assert data == payload(newest.step, rank)
    return found


def kill_at_random_instants(folder: Path, num_kills: int) -> None:
    rng = random.Random(20261121)
    start = time.perf_counter()
    life(folder, "measured/1", lambda step: None, 5)
    step_s = (time.perf_counter() - start) / 5
    reached = 5
    for kill in range(num_kills):
        source, sink = os.pipe()

        def say(step: int, sink: int = sink) -> None:
            os.write(sink, step.to_bytes(4, "big"))

        pid = in_child(lambda kill=kill, say=say: life(folder, f"kill-{kill}/1", say, 10**6))
        os.close(sink)
        # One in five dies on the way to its first save, the others during one of the first three
        heard = os.read(source, 4) if rng.random() < 0.8 else b""
        time.sleep(rng.uniform(0.0, 3 * step_s))  # the instant is what this test varies
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, "it ended by itself"
        said = last_said(source, heard)
        os.close(source)
        reached = assert_loads(folder, said, reached)
    life(folder, "undisturbed/1", lambda step: None, 3)
    assert len(CheckpointStore(folder).dir.folders()) <= 3  # the newest two, and what was verified
    assert CheckpointStore(folder).dir.temporaries() == []
    assert reached > num_kills / 5, "hardly any save was reached: nothing was killed"


def test_a_kill_at_a_random_instant(folder):
    kill_at_random_instants(folder, 100)


@pytest.mark.long
def test_500_kills_at_random_instants(folder):
    kill_at_random_instants(folder, 500)


@pytest.mark.long
def test_500_kills_at_random_instants_on_a_real_disk(tmp_path):
    kill_at_random_instants(tmp_path, 500)


def test_a_kill_before_each_call_to_the_operating_system(folder, monkeypatch):
    """Deterministic: the third save dies before its first call, before its second, and so on."""
    deaths = 0
    for fatal in range(1, 1000):
        root = folder / str(fatal)
        life(root, "first/1", lambda step: None, 2)

        def run(root: Path = root, fatal: int = fatal) -> None:
            store = CheckpointStore(root, token="first/1", keep=2)
            count = 0
            real = {name: getattr(os, name) for name in CALLS}

            def wrap(name: str) -> Callable[..., object]:
                def call(*args: object, **kwargs: object) -> object:
                    nonlocal count
                    count += 1
                    if count == fatal:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real[name](*args, **kwargs)

                return call

            for name in CALLS:
                setattr(os, name, wrap(name))
            save(store, 3)
            store.prune()

        _, status = os.waitpid(in_child(run), 0)
        store = CheckpointStore(root, token="first/1")
        newest = store.newest()
        assert newest is not None
        assert newest.step in (2, 3), f"call {fatal}"
        assert not store.dir.quarantine_path.exists(), f"call {fatal}"
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            assert newest.step == 3
            break
        deaths += 1
        life(root, "second/1", lambda step: None, 1)  # and the next incarnation goes on
        assert CheckpointStore(root).dir.temporaries() == []
    assert deaths > 40
