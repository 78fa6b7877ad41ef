"""A nested state survives being taken apart and put together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing._internal.two_tensor import TwoTensor

from slurmkit.checkpoint.tensors import PerRank, UnsupportedStateError
from slurmkit.checkpoint.tensors.tree import below, flatten, grow, inside, rebuild

_leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.builds(lambda: torch.ones(1))
)
_keys = st.one_of(st.text("abc", min_size=1, max_size=2), st.integers(0, 3))
_states = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.dictionaries(_keys, inner, max_size=3),
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=2), _states, max_size=4))
def test_rebuild_undoes_flatten(state):
    try:
        flat = flatten(state, 0)
    except UnsupportedStateError:  # {"a.b": ..} beside {"a": {"b": ..}} or {1: ..} beside {"1": ..}
        return
    values = {
        path: flat.tensors.get(key, flat.objects.get(key)) for key, path in flat.paths.items()
    }
    assert _frozen(rebuild(state, values)) == _frozen(state)
    if state:
        assert _frozen(grow({flat.paths[key]: values[flat.paths[key]] for key in flat.paths})) == (
            _frozen(state)
        )


def _frozen(value):
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_frozen(item) for item in value)
    return ("tensor", id(value)) if isinstance(value, torch.Tensor) else (type(value), value)


def test_values_without_tensors_stay_whole():
    flat = flatten({"scheduler": {"a": 1, "b": [1, 2]}, "model": {"w": torch.ones(2)}}, 0)
    assert flat.objects == {"scheduler": {"a": 1, "b": [1, 2]}}
    assert list(flat.tensors) == ["model.w"]


def test_two_values_of_one_name_are_refused():
    with pytest.raises(UnsupportedStateError, match=r"a\.b"):
        flatten({"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}, 0)


def test_what_has_no_data_is_refused():
    with pytest.raises(UnsupportedStateError, match="meta device"):
        flatten({"w": torch.empty(3, device="meta")}, 0)


def test_a_wrapper_around_tensors_is_refused():
    wrapper = TwoTensor(torch.ones(2), torch.ones(2))
    with pytest.raises(UnsupportedStateError, match="w is a TwoTensor"):
        flatten({"w": wrapper}, 0)


def test_a_rank_has_its_own_names():
    flat = flatten({"rng": PerRank({"torch": torch.ones(1), "python": 3})}, 2)
    assert set(flat.paths) == {"rng.torch#2", "rng.python#2"}
    assert flat.per_rank == set(flat.paths)


def test_what_lies_below_a_path():
    paths = {"o.0.m": ("o", 0, "m"), "o.1.m": ("o", 1, "m"), "oo": ("oo",), "o.r#1": ("o", "r")}
    assert below(paths, ("o",), "") == {"o.0.m": (0, "m"), "o.1.m": (1, "m")}
    assert below(paths, ("o",), "#1") == {"o.r#1": ("r",)}


def test_a_value_inside_a_whole_one_is_found():
    assert inside({"scheduler": 0}, ("scheduler", "a", ("l", 1)), "") == (
        "scheduler",
        ("a", ("l", 1)),
    )
    assert inside({"sched": 0}, ("scheduler", "a"), "") is None
