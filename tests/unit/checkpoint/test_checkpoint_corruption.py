"""Whatever happens to the bytes of a step, it is noticed, and the step before is taken."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.checkpoint.store import CheckpointStore

NUM_CORRUPTIONS = 1000


def _files(step: Path) -> list[Path]:
    return sorted(path for path in step.rglob("*") if path.is_file())


def flip_a_bit(step: Path, other: Path, rng: random.Random) -> str:
    path = rng.choice([path for path in _files(step) if path.stat().st_size])
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data) * 8)
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)
    return f"bit {place} of {path.name}"


def overwrite_a_range(step: Path, other: Path, rng: random.Random) -> str:
    path = rng.choice([path for path in _files(step) if path.stat().st_size])
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.randrange(1, 600))
    new = bytes(stop - start) if rng.random() < 0.5 else rng.randbytes(stop - start)
    if data[start:stop] == new:
        new = bytes(byte ^ 1 for byte in new)
    data[start:stop] = new
    path.write_bytes(data)
    return f"bytes {start}:{stop} of {path.name}"


def truncate(step: Path, other: Path, rng: random.Random) -> str:
    path = rng.choice([path for path in _files(step) if path.stat().st_size])
    length = rng.randrange(path.stat().st_size)
    os.truncate(path, length)
    return f"{path.name} cut to {length}"


def append(step: Path, other: Path, rng: random.Random) -> str:
    path = rng.choice(_files(step))
    with path.open("ab") as file:
        file.write(rng.choice([b"\0", b"\n", b" ", rng.randbytes(9)]))
    return f"{path.name} grew"


def remove(step: Path, other: Path, rng: random.Random) -> str:
    path = rng.choice(_files(step))
    path.unlink()
    return f"{path.name} removed"


def swap(step: Path, other: Path, rng: random.Random) -> str:
    one, two = rng.sample([p for p in _files(step) if p.name.startswith("shard")], 2)
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    return f"{one.name} and {two.name} swapped"


def take_from_another_step(step: Path, other: Path, rng: random.Random) -> str:
    path = rng.choice([path for path in _files(step) if path.stat().st_size])
    shutil.copy(other / path.relative_to(step), path)
    return f"{path.name} is that of another step"


def add(step: Path, other: Path, rng: random.Random) -> str:
    name = rng.choice(["shard-9", "rank-00000.done.json", ".hidden", "deep/er/x", "manifest.json~"])
    path = step / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rng.choice([b"", b"x"]))
    return f"{name} added"


def link(step: Path, other: Path, rng: random.Random) -> str:
    path = rng.choice(_files(step))
    moved = step.parent / "elsewhere"
    path.rename(moved)
    path.symlink_to(moved)
    return f"{path.name} is a link"


KINDS: list[Callable[[Path, Path, random.Random], str]] = [
    flip_a_bit,
    overwrite_a_range,
    truncate,
    append,
    remove,
    swap,
    take_from_another_step,
    add,
    link,
]


@pytest.fixture
def pristine(folder, save) -> Path:
    rng = random.Random(0)
    store = CheckpointStore(folder / "pristine")
    for step in (1, 2):
        ranks = [
            {f"shard-{rank}": rng.randbytes(1024), f"deep/rng-{rank}": rng.randbytes(17)}
            for rank in range(3)
        ]
        save(store, step, *ranks, {"empty": b""}, epoch=step, note="é")
    return store.dir.path


def test_every_random_corruption_is_noticed_and_the_step_before_is_taken(folder, pristine):
    for seed in range(NUM_CORRUPTIONS):
        rng = random.Random(seed)
        kind = KINDS[seed % len(KINDS)]
        root = folder / "spoilt"
        shutil.copytree(pristine, root)
        store = CheckpointStore(root)
        what = kind(store.dir.step_path(2), store.dir.step_path(1), rng)

        newest = store.newest()

        assert newest is not None, f"seed {seed}: {what}: step 1 was given up, too"
        assert newest.step == 1, f"seed {seed}: {what} was not noticed"
        assert [path.name for path in store.dir.quarantine_path.iterdir()] == ["step-0000000002-1"]
        shutil.rmtree(root)


def test_undamaged_steps_are_not_put_aside(pristine):
    store = CheckpointStore(pristine)
    newest = store.newest()
    assert newest is not None
    assert newest.step == 2
    assert not store.dir.quarantine_path.exists()
