"""What is saved is what is loaded, to the bit, in one process."""

import pytest
import torch
from safetensors.torch import load_file

from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors import (
    PerRank,
    StateMismatchError,
    TensorCheckpointer,
    UnsupportedStateError,
)

from .states import DTYPES, random_bits, same


@pytest.fixture(params=["asynchronous", "synchronous"])
def checkpointer(tmp_path, request):
    made = TensorCheckpointer(
        CheckpointStore(tmp_path / "ckpt"), asynchronous=request.param == "asynchronous"
    )
    yield made
    made.close()


def save(checkpointer, step, state, extra=None) -> Manifest:
    handle = checkpointer.save(step, state, extra or {})
    result = handle.result or checkpointer.wait(30)
    assert result is not None
    assert result.error is None
    assert result.manifest is not None
    return result.manifest


def test_every_type_and_odd_shapes(checkpointer):
    shapes = [(), (1,), (0,), (3, 0, 2), (7, 5), (2, 3, 4)]
    state = {
        f"{dtype}{shape}": random_bits(shape, dtype, seed)
        for seed, (dtype, shape) in enumerate((d, s) for d in DTYPES for s in shapes)
    }
    save(checkpointer, 1, state)
    target = {key: torch.zeros_like(value) for key, value in state.items()}
    loaded = checkpointer.load(1, target)
    assert all(same(state[key], target[key]) for key in state)
    assert all(loaded[key] is target[key] for key in state)
    fresh = checkpointer.load(1, dict.fromkeys(state))
    assert all(same(state[key], fresh[key]) for key in state)


def test_strides_views_and_shared_memory(checkpointer):
    base = torch.arange(4000, dtype=torch.float32)
    state = {
        "transposed": base.view(40, 100).t(),
        "sliced": base[::7],
        "expanded": base[:5].expand(3, 5),
        "one": base,
        "tied": base,
        "conjugated": torch.view_as_complex(base.view(-1, 2)).conj(),
        "channels_last": base.view(2, 10, 10, 20).to(memory_format=torch.channels_last),
    }
    save(checkpointer, 1, state)
    target = {key: torch.zeros_like(value).contiguous() for key, value in state.items()}
    target["transposed"] = torch.zeros(100, 40).t().contiguous().t()  # and back into strides
    target["transposed"] = torch.zeros(40, 100).t()
    checkpointer.load(1, target)
    assert all(same(state[key], target[key]) for key in state)


def test_a_snapshot_is_taken(checkpointer):
    weights = torch.ones(1 << 16)
    checkpointer.save(1, {"w": weights, "n": {"count": 1}}, {})
    weights.zero_()
    checkpointer.wait(30)
    assert checkpointer.load(1, {"w": torch.zeros(1 << 16)})["w"].eq(1).all()


def test_optimizer_from_nothing(checkpointer):
    model = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(4, 30)).sum().backward()
        optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    save(checkpointer, 3, state, {"epoch": 3})

    model2 = torch.nn.Linear(30, 20)
    optimizer2 = torch.optim.AdamW(model2.parameters())
    loaded = checkpointer.load(
        3, {"model": model2.state_dict(), "optimizer": optimizer2.state_dict(), "epoch": None}
    )
    optimizer2.load_state_dict(loaded["optimizer"])
    assert loaded["epoch"] == 3
    assert same(model.weight, model2.weight)
    assert optimizer2.param_groups[0]["lr"] == 0.5
    for one, two in zip(optimizer.state.values(), optimizer2.state.values(), strict=True):
        assert all(same(one[key], two[key]) for key in one)


def test_values_of_many_kinds(checkpointer):
    state = {
        "plain": {"a": [1, (2, 3)], "none": None, 5: {"x": b"bytes"}},
        "rng": PerRank({"torch": torch.get_rng_state(), "python": (3, (1, 2), None)}),
        "mixed": [torch.ones(2), 7, (torch.zeros(1), "text")],
        "empty": {},
    }
    save(checkpointer, 1, state)
    loaded = checkpointer.load(
        1, {"plain": None, "rng": PerRank(None), "mixed": None, "empty": {}, "gone": PerRank(4)}
    )
    assert loaded["plain"] == state["plain"]
    assert same(loaded["rng"]["torch"], state["rng"].value["torch"])
    assert loaded["rng"]["python"] == (3, (1, 2), None)
    assert loaded["mixed"][1] == 7
    assert loaded["mixed"][2][1] == "text"
    assert isinstance(loaded["mixed"][2], tuple)
    assert loaded["empty"] == {}
    assert loaded["gone"] == 4  # this rank had saved nothing under that name


def test_a_state_that_changes_its_shape(checkpointer):
    for step in range(1, 5):
        state = {f"w{n}": torch.full((step * 1000, n + 1), float(step)) for n in range(step)}
        save(checkpointer, step, {**state, "text": "x" * step * 10000})
        loaded = checkpointer.load(step, {**dict.fromkeys(state), "text": ""})
        assert all(same(state[key], loaded[key]) for key in state)
        assert len(loaded["text"]) == step * 10000


def test_any_tool_can_read_the_file(checkpointer):
    state = {"model": {"w": torch.randn(3, 4), "b": torch.ones(5, dtype=torch.bfloat16)}, "n": 1}
    manifest = save(checkpointer, 1, state)
    found = load_file(manifest.folder / "rank-00000.safetensors")
    assert same(found["model.w"], state["model"]["w"])
    assert same(found["model.b"], state["model"]["b"])


def test_what_does_not_fit_touches_nothing(checkpointer):
    save(checkpointer, 1, {"w": torch.ones(4), "b": torch.ones(2)})
    target = {"w": torch.zeros(4), "b": torch.zeros(3)}
    with pytest.raises(StateMismatchError, match=r"b is float32 \[2\].*\[3\]"):
        checkpointer.load(1, target)
    with pytest.raises(StateMismatchError, match="float64"):
        checkpointer.load(1, {"w": torch.zeros(4, dtype=torch.float64)})
    with pytest.raises(StateMismatchError, match="does not have bias"):
        checkpointer.load(1, {"w": target["w"], "bias": torch.zeros(1)})
    assert target["w"].eq(0).all()
    assert checkpointer.newest().step == 1  # sound, so not in quarantine


def test_what_cannot_be_pickled_fails_the_save_and_not_the_program(checkpointer):
    handle = checkpointer.save(1, {"f": lambda: 0, "w": torch.ones(1)}, {})
    result = handle.result or checkpointer.wait(30)
    assert isinstance(result.error, UnsupportedStateError)
    assert checkpointer.newest() is None
    save(checkpointer, 2, {"w": torch.ones(1)})


def test_retention_and_extra(tmp_path):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path, keep=2, run="r"))
    for step in range(1, 6):
        manifest = save(checkpointer, step, {"w": torch.full((3,), step)}, {"epoch": step})
    assert checkpointer.store.dir.steps() == [4, 5]
    assert manifest.extra == {"epoch": 5}
    assert manifest.run == "r"
    checkpointer.close()


def test_two_saves_in_flight_and_a_third_that_waits(tmp_path):
    checkpointer = TensorCheckpointer(CheckpointStore(tmp_path, keep=9))
    states = [{"w": torch.full((1 << 20,), float(step))} for step in range(6)]
    for step, state in enumerate(states):
        checkpointer.save(step, state, {})
    newest = checkpointer.wait(60)
    assert newest.step == 5
    assert [checkpointer.poll().step for _ in range(5)] == [0, 1, 2, 3, 4]
    assert checkpointer.poll() is None
    for step, state in enumerate(states):
        assert same(checkpointer.load(step, {"w": None})["w"], state["w"])
    checkpointer.close()
