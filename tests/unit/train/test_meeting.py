"""Ranks meet as soon as rank 0 is there."""

import gc
import random
import socket
import threading
from datetime import timedelta

import pytest

from slurmkit.train import world
from slurmkit.train.errors import TrainError
from slurmkit.train.meeting import await_store


@pytest.fixture
def door():
    """A port that is ours, and refuses everybody until it listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def test_a_rank_that_is_first_knocks_until_rank_0_listens(door):
    address, port = door.getsockname()
    waiting = threading.Thread(target=await_store, args=(address, port, 2, 20))
    waiting.start()
    door.listen()
    knock, _ = door.accept()
    waiting.join(20)
    assert not waiting.is_alive()
    with knock:
        assert knock.recv(1) == b""  # it has gone, and said nothing


def test_nobody_listens(door):
    address, port = door.getsockname()
    random.seed(1)
    with pytest.raises(TrainError, match=rf"127\.0\.0\.1:{port} for 0\.2 s: .*refused"):
        await_store(address, port, 2, 0.2)
    drawn = random.random()
    random.seed(1)
    assert drawn == random.random()  # the program's own numbers are left alone


def test_a_name_that_nobody_knows():
    with pytest.raises(TrainError, match=r"rank 0 cannot be reached at node\.invalid:29500"):
        await_store("node.invalid", 29500, 2, 0.1)


def test_what_is_loaded_is_left_out_of_collections_until_the_end(door, monkeypatch):
    _, port = door.getsockname()
    door.close()
    names = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_PORT": port}
    for name, value in {**names, "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))
    before = gc.get_freeze_count()
    joined = world.join(timedelta(seconds=20))
    try:
        assert joined.joined
        assert gc.get_freeze_count() > before
    finally:
        world.leave(None)
    assert gc.get_freeze_count() == 0
