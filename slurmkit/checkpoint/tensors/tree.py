"""A nested state as flat names and back: tensors on one side, everything else on the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from slurmkit.checkpoint.tensors.errors import UnsupportedStateError
from slurmkit.checkpoint.tensors.index import Path
from slurmkit.checkpoint.tensors.kinds import is_dtensor, is_sharded_tensor


@dataclass(frozen=True)
class PerRank:
    """A value that each rank has for itself, such as the state of a random number generator.

    Without it, the same name on several ranks means the same value, and one rank writes it. What
    was saved under it comes back to the rank of the same number; a rank that did not exist then
    keeps the value that it gave to `load`.
    """

    value: Any


@dataclass(frozen=True)
class Flat:
    """A state, taken apart.

    Attributes:
        tensors: by key; strided tensors and DTensors.
        objects: everything else, by key.
        paths: how each key is reached.
        per_rank: keys that belong to this rank alone.
    """

    tensors: dict[str, torch.Tensor]
    objects: dict[str, Any]
    paths: dict[str, Path]
    per_rank: frozenset[str]


def flatten(state: Mapping[str, Any], rank: int) -> Flat:
    """Take a nested state apart.

    Dicts with text or whole numbers as keys, lists and tuples are walked into where there is a
    tensor somewhere below them; everything else is a value of its own. A key is the names on its
    way with dots between them.

    Raises:
        UnsupportedStateError: two values have one key, or a tensor cannot be saved.
    """
    tensors: dict[str, torch.Tensor] = {}
    objects: dict[str, Any] = {}
    paths: dict[str, Path] = {}
    per_rank = set()
    for path, value, own in _leaves((), state, False):
        key = name(path)
        if own:
            key = f"{key}#{rank}"
            per_rank.add(key)
        if key in paths:
            raise UnsupportedStateError(
                f"two values of the state have the name {key}",
                hint="rename one of them: names are joined with dots",
            )
        paths[key] = path
        if isinstance(value, torch.Tensor) and value.layout == torch.strided:
            _must_be_storable(key, value)
            tensors[key] = value
        else:
            objects[key] = value
    return Flat(tensors, objects, paths, frozenset(per_rank))


def rebuild(state: Any, values: Mapping[Path, Any], path: Path = ()) -> Any:
    """Return the state with values in place of its leaves; the containers are new."""
    if isinstance(state, PerRank):
        return rebuild(state.value, values, path)
    if path in values:
        return values[path]
    if not _walks(state):
        return state
    items = {key: rebuild(item, values, (*path, key)) for key, item in _items(state)}
    if isinstance(state, dict):
        return items
    return list(items.values()) if isinstance(state, list) else tuple(items.values())


def name(path: Path) -> str:
    """Return the key of a path: the names on the way with dots between them."""
    return ".".join(str(step[1]) if isinstance(step, tuple) else str(step) for step in path)


def below(paths: Mapping[str, Path], path: Path, own: str) -> dict[str, Path]:
    """Return the keys that lie at or below a path, with what remains of their paths.

    Args:
        paths: of all that was saved.
        path: of a leaf of the state that is loaded into.
        own: ``#3`` for what rank 3 has for itself; empty for what is common to all.
    """
    size = len(path)
    return {
        key: found[size:]
        for key, found in paths.items()
        if found[:size] == path and key[len(name(found)) :] == own
    }


def inside(objects: Mapping[str, int], path: Path, own: str) -> tuple[str, Path] | None:
    """Return the saved value that has this path inside it, and what remains of the path."""
    for size in range(len(path), 0, -1):
        key = name(path[:size]) + own
        if key in objects:
            return key, path[size:]
    return None


def grow(entries: Mapping[Path, Any]) -> Any:
    """Make a nested state out of nothing but paths and values."""
    if () in entries:
        return entries[()]
    below: dict[Any, dict[Path, Any]] = {}
    for path, value in entries.items():
        below.setdefault(path[0], {})[path[1:]] = value
    grown = {head: grow(rest) for head, rest in below.items()}
    first = next(iter(grown), "")
    if isinstance(first, tuple):
        items = [grown[head] for head in sorted(grown)]
        return items if first[0] == "l" else tuple(items)
    return grown


def _leaves(path: Path, value: Any, own: bool) -> Iterator[tuple[Path, Any, bool]]:
    if isinstance(value, PerRank):
        yield from _leaves(path, value.value, True)
    elif _walks(value) and (not path or _has_tensor(value)):
        for element, item in _items(value):
            yield from _leaves((*path, element), item, own)
    else:
        yield path, value, own


def _walks(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) in (str, int) for key in value)
    return type(value) in (list, tuple)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    else:
        letter = "l" if isinstance(value, list) else "t"
        yield from (((letter, number), item) for number, item in enumerate(value))


def _has_tensor(value: Any) -> bool:
    if isinstance(value, (torch.Tensor, PerRank)):
        return True
    return _walks(value) and any(_has_tensor(item) for _, item in _items(value))


def _must_be_storable(key: str, tensor: torch.Tensor) -> None:
    if tensor.device.type == "meta":
        raise UnsupportedStateError(
            f"{key} is on the meta device and has no data",
            hint="materialize the model (to_empty and initialize) before it is saved or loaded",
        )
    wrapped: Any = tensor
    is_wrapper = is_traceable_wrapper_subclass(wrapped) and not is_dtensor(tensor)
    if is_wrapper or is_sharded_tensor(tensor):
        raise UnsupportedStateError(
            f"{key} is a {type(tensor).__name__}, which has no plain memory",
            hint="save plain tensors or DTensors, as get_state_dict of torch gives them for FSDP2",
        )
    if tensor.is_quantized:
        raise UnsupportedStateError(
            f"{key} is a quantized tensor", hint="save its int_repr instead"
        )
