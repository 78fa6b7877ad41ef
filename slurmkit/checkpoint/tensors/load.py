"""Reading a step into a state: which bytes of which file are needed, and where they go."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.reading import corrupt
from slurmkit.checkpoint.tensors.errors import StateMismatchError
from slurmkit.checkpoint.tensors.index import Index, Path, Stored, rank_file
from slurmkit.checkpoint.tensors.kinds import dtype_name, is_dtensor
from slurmkit.checkpoint.tensors.memory import bytes_of
from slurmkit.checkpoint.tensors.overlap import Overlap, of_whole_tensors
from slurmkit.checkpoint.tensors.pieces import Piece, read_pieces
from slurmkit.checkpoint.tensors.tree import Flat, below, grow, inside


@dataclass
class _Wanted:
    """What has to be read.

    Attributes:
        tensors: destinations by key.
        fresh: keys of tensors that are made here, as the state had no tensor at that place.
        objects: keys of values that are not tensors.
        values: how each leaf of the state is made once everything was read.
    """

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)
    values: dict[Path, Callable[[Mapping[str, Any]], Any]] = field(default_factory=dict)


def load_into(manifest: Manifest, index: Index, flat: Flat, rank: int) -> dict[Path, Any]:
    """Read what a state needs, tensors in place, and return the value of each of its leaves.

    Raises:
        CorruptCheckpointError: a file is not what was written; the tensors hold parts of it.
        StateMismatchError: the step does not have what the state asks for; nothing was touched.
        CheckpointError: something cannot be read right now.
    """
    wanted = _wanted(index, flat, rank)
    ranks = sorted({index.objects[key] for key in wanted.objects})
    pieces, blobs = _object_pieces(manifest, index, ranks)
    for overlap in _overlaps(index, wanted.tensors):
        pieces.append(_piece(index, overlap, wanted.tensors))
    read_pieces(manifest, pieces)
    values: dict[str, Any] = dict(wanted.tensors)
    for blob in blobs.values():
        # The digests say that these are the bytes that the run wrote; see the page on guarantees
        values |= pickle.loads(bytes_of(blob))  # noqa: S301
    return {path: make(values) for path, make in wanted.values.items()}


def _wanted(index: Index, flat: Flat, rank: int) -> _Wanted:
    wanted = _Wanted()
    missing = []
    for key, path in flat.paths.items():
        own = f"#{rank}" if key in flat.per_rank else ""
        target = flat.tensors.get(key)
        if key in index.tensors:
            _want_tensor(wanted, path, key, index.tensors[key], target)
        elif key in index.objects:
            _want_object(wanted, path, key, ())
        elif found := inside(index.objects, path, own):
            _want_object(wanted, path, *found)
        elif target is None and (keys := below(index.paths, path, own)):
            _want_tree(wanted, index, path, keys)
        elif not own:
            missing.append(key)
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise StateMismatchError(
            f"the checkpoint does not have {', '.join(missing[:5])}{more}",
            hint="is it of another model? A key that is new can be left out of the state to load",
        )
    return wanted


def _want_tensor(
    wanted: _Wanted, path: Path, key: str, stored: Stored, target: torch.Tensor | None
) -> None:
    if target is None:
        dtype: torch.dtype = getattr(torch, stored.dtype)
        target = torch.empty(stored.shape, dtype=dtype)
    elif (dtype_name(target.dtype), tuple(target.shape)) != (stored.dtype, stored.shape):
        raise StateMismatchError(
            f"{key} is {stored.dtype} {list(stored.shape)} in the checkpoint and"
            f" {dtype_name(target.dtype)} {list(target.shape)} in the state",
            hint="build the model as it was when it was saved",
        )
    wanted.tensors[key] = target
    wanted.values[path] = lambda values: values[key]


def _want_object(wanted: _Wanted, path: Path, key: str, rest: Path) -> None:
    wanted.objects.add(key)

    def value(values: Mapping[str, Any]) -> Any:
        found = values[key]
        for element in rest:
            found = found[element[1] if isinstance(element, tuple) else element]
        return found

    wanted.values[path] = value


def _want_tree(wanted: _Wanted, index: Index, path: Path, keys: Mapping[str, Path]) -> None:
    """Take all that was saved below a leaf, such as below the empty state of an optimizer."""
    for key in keys:
        if key in index.tensors:
            _want_tensor(wanted, index.paths[key], key, index.tensors[key], None)
        else:
            wanted.objects.add(key)
    wanted.values[path] = lambda values: grow({rest: values[key] for key, rest in keys.items()})


def _object_pieces(
    manifest: Manifest, index: Index, ranks: list[int]
) -> tuple[list[Piece], dict[int, torch.Tensor]]:
    pieces, blobs = [], {}
    for rank in ranks:
        start = index.objects_start[rank]
        length = manifest.entry(rank_file(rank)).size_bytes - start
        if length <= 0:
            raise corrupt(manifest, rank_file(rank), "is shorter than its index says")
        blobs[rank] = torch.empty(length, dtype=torch.uint8)
        pieces.append(Piece(rank, start, length, blobs[rank]))
    return pieces, blobs


def _overlaps(index: Index, tensors: Mapping[str, torch.Tensor]) -> list[Overlap]:
    shards = {key: tensor for key, tensor in tensors.items() if is_dtensor(tensor)}
    found = of_whole_tensors(index.tensors, tensors.keys() - shards.keys())
    if shards:
        from slurmkit.checkpoint.tensors import dtensors  # noqa: PLC0415 (see there)

        found += dtensors.overlaps(index.tensors, shards)
    return found


def _piece(index: Index, item: Overlap, tensors: Mapping[str, torch.Tensor]) -> Piece:
    """Return the bytes that an overlap needs and the tensor that they go to.

    Rows of a part lie one after the other, so a range of the first dimension is a range of bytes;
    a range of another dimension is cut out of its rows after they were read.
    """
    part = index.tensors[item.key].parts[item.part]
    target = _local(tensors[item.key])
    for dim, (start, length) in enumerate(zip(item.dest_offsets, item.lengths, strict=True)):
        target = target.narrow(dim, start, length)
    item_bytes = target.element_size()
    rows, row_bytes, first = 1, item_bytes, 0
    if part.sizes:
        for extent in part.sizes[1:]:
            row_bytes *= extent
        first, rows = item.storage_offsets[0], item.lengths[0]
    place, length = part.place + first * row_bytes, rows * row_bytes
    if item.lengths[1:] == part.sizes[1:]:
        return Piece(part.rank, place, length, target)
    shape = (rows, *part.sizes[1:])
    cut = tuple(
        slice(start, start + extent)
        for start, extent in zip(item.storage_offsets[1:], item.lengths[1:], strict=True)
    )
    return Piece(part.rank, place, length, target, shape, (slice(None), *cut))


def _local(tensor: torch.Tensor) -> torch.Tensor:
    mine: torch.Tensor = tensor.detach()
    to_local = getattr(mine, "_local_tensor", None)  # of a DTensor; to_local() would make a view
    return mine if to_local is None else to_local
