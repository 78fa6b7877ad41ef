"""Whatever happens to the bytes of a step: it is noticed, and the step before is loaded."""

import random
import shutil
from pathlib import Path

import pytest
import torch

from slurmkit.checkpoint.errors import CorruptCheckpointError
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors import TensorCheckpointer

from .states import random_bits, same


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def lengthen(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randint(1, 99)))


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def zero_a_page(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    start = chance.randrange(len(data)) // 4096 * 4096
    data[start : start + 4096] = bytes(len(data[start : start + 4096]))
    path.write_bytes(data)


def swap_with_the_step_before(path: Path, chance: random.Random) -> None:
    shutil.copyfile(path.parent.parent / "step-0000000001" / path.name, path)


DAMAGES = [flip, truncate, lengthen, remove, zero_a_page, swap_with_the_step_before]


def state(seed: int) -> dict:
    return {
        "w": random_bits((700_000,), torch.float32, seed),
        "b": random_bits((13, 17), torch.bfloat16, seed + 1),
        "many": {f"m{n}": random_bits((n,), torch.uint8, seed) for n in range(700)},
        "values": {"seed": seed},
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "ckpt"
    checkpointer = TensorCheckpointer(CheckpointStore(folder), asynchronous=False)
    for step in (1, 2):
        assert checkpointer.save(step, state(step), {"step": step}).result.error is None
    return folder


def damage_and_load(original: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    shutil.copytree(original, tmp_path / "ckpt")
    step = tmp_path / "ckpt" / "step-0000000002"
    before = {path.name: path.read_bytes() for path in step.iterdir()}
    path = chance.choice(sorted(step.iterdir()))
    damage = chance.choice(DAMAGES)
    damage(path, chance)
    if path.exists() and path.read_bytes() == before[path.name]:
        return  # a page of zeros was zeroed; the two steps have the same index
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path / "ckpt"), asynchronous=False)
    target = {"w": torch.zeros(700_000), "b": None, "many": {}, "values": None}
    found = checkpointer.newest()
    what = f"seed {seed}: {damage.__name__} of {path.name}"
    if found.step == 2:
        print(what)  # shown when it was not noticed
        with pytest.raises(CorruptCheckpointError):
            checkpointer.load(2, target)
        found = checkpointer.newest()
    assert found.step == 1, what
    assert list((tmp_path / "ckpt" / "quarantine").glob("step-0000000002-*/why.json")), what
    loaded, expected = checkpointer.load(1, target), state(1)
    assert same(loaded["w"], expected["w"])
    assert loaded["w"] is target["w"]
    assert same(loaded["b"], expected["b"])
    assert all(same(loaded["many"][key], expected["many"][key]) for key in expected["many"])
    assert loaded["values"] == {"seed": 1}


@pytest.mark.parametrize("block", range(4))
def test_random_damage_is_noticed(original, tmp_path, block):
    for seed in range(block * 15, block * 15 + 15):
        damage_and_load(original, tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))


@pytest.mark.long
@pytest.mark.parametrize("block", range(10))
def test_a_thousand_damages_are_noticed(original, tmp_path, block):
    for seed in range(1000 + block * 100, 1100 + block * 100):
        damage_and_load(original, tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))
