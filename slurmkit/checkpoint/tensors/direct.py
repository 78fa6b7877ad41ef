"""A synchronous save: tensors go to the file as they are, without a copy on the way."""

import time
from collections.abc import Iterable, Iterator

import torch

from slurmkit.checkpoint.errors import CheckpointError, SaveFailedError
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors.memory import bytes_of
from slurmkit.checkpoint.tensors.part import Place, Work, finish, write_part
from slurmkit.checkpoint.tensors.plan import Order
from slurmkit.checkpoint.tensors.ranks import Ranks
from slurmkit.checkpoint.tensors.results import SaveResult


def save_directly(store: CheckpointStore, ranks: Ranks, place: Place, order: Order) -> SaveResult:
    """Write, wait for all ranks, commit; return the same outcome on all ranks."""
    manifest: Manifest | None = None
    error: CheckpointError | None = None
    try:
        manifest = _save(store, place, order)
    except CheckpointError as reason:
        error = reason
    except (OSError, RuntimeError, MemoryError, TypeError) as reason:
        error = SaveFailedError(f"rank {place.rank}: {type(reason).__name__}: {reason}")
    manifest, error = ranks.from_first((manifest, error))
    took_s = time.perf_counter() - order.start
    return SaveResult(order.step, manifest, error, took_s, took_s)


def _save(store: CheckpointStore, place: Place, order: Order) -> Manifest | None:
    image = order.plan.image
    size = image.data_end
    pieces: Iterable[memoryview] = ()
    try:
        objects = order.objects()
        size += len(objects)
        pieces = _pieces(image.head_for(len(objects)), order.tensors(), objects)
    except CheckpointError as error:
        pieces = _failing(error)  # inside the save, so that the other ranks learn it at once
    index = memoryview(order.plan.index)
    writer = write_part(store, place, Work(order.step, size, pieces, index, order.extra))
    return finish(store, writer, place, order.extra) if place.rank == 0 else None


def _pieces(head: bytes, tensors: Iterable[torch.Tensor], objects: bytes) -> Iterator[memoryview]:
    yield memoryview(head)
    for tensor in tensors:
        whole = tensor.resolve_conj().resolve_neg().cpu().contiguous()
        yield bytes_of(whole)
    yield memoryview(objects)


def _failing(error: CheckpointError) -> Iterator[memoryview]:
    yield memoryview(b"")
    raise error
