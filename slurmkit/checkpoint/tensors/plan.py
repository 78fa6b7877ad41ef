"""Which rank writes which part of which tensor: worked out once, kept while nothing changes."""

import json
import pickle
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import SavePlan
from torch.distributed.tensor import DTensor

from slurmkit.checkpoint.tensors.errors import UnsupportedStateError
from slurmkit.checkpoint.tensors.image import Chunk, Image, lay_out
from slurmkit.checkpoint.tensors.index import make
from slurmkit.checkpoint.tensors.ranks import Ranks
from slurmkit.checkpoint.tensors.tree import Flat

Signature = tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """What this rank writes.

    Attributes:
        image: where everything lies in this rank's file.
        objects: keys of values that are not tensors and that this rank writes.
        index: text of the index of all ranks, on rank 0; empty elsewhere.
    """

    image: Image
    objects: tuple[str, ...]
    index: bytes


@dataclass(frozen=True)
class Order:
    """A save that is about to be made.

    Attributes:
        step: the optimizer step.
        start: when `save` was called, `time.perf_counter`.
        plan: what this rank writes.
        flat: the state.
        extra: JSON for the manifest.
    """

    step: int
    start: float
    plan: Plan
    flat: Flat
    extra: dict[str, Any]

    def tensors(self) -> list[torch.Tensor]:
        """Return what is in this process of the tensors of the plan, in its order."""
        return [local(self.flat.tensors[chunk.key]) for chunk in self.plan.image.chunks]

    def objects(self) -> bytes:
        """Return the values of the plan that are not tensors, pickled.

        Raises:
            UnsupportedStateError: one of them cannot be pickled.
        """
        values = {key: self.flat.objects[key] for key in self.plan.objects}
        try:
            return pickle.dumps(values, pickle.HIGHEST_PROTOCOL) if values else b""
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            raise UnsupportedStateError(
                f"one of {', '.join(self.plan.objects[:8])} cannot be pickled: {error}",
                hint="save a state_dict of it instead of the object itself",
            ) from error

    def told(self) -> bytes:
        """Return the JSON text for the manifest.

        Raises:
            UnsupportedStateError: it is no JSON.
        """
        try:
            return json.dumps(self.extra).encode()
        except (TypeError, ValueError) as error:
            raise UnsupportedStateError(f"extra is no JSON: {error}") from error


@dataclass(frozen=True)
class _Offer:
    """What one rank could write."""

    plan: SavePlan
    objects: tuple[str, ...]
    paths: dict[str, Any]


class Planner:
    """Makes plans and keeps the last one; every call is made by all ranks together."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._signature: Signature | None = None
        self._plan: Plan | None = None

    def plan(self, step: int, flat: Flat | None, error: BaseException | None = None) -> Plan:
        """Return this rank's part of the save.

        While the state keeps its shape this costs one all-reduce of three numbers.

        Args:
            step: all ranks must mean the same one.
            flat: the state, or None when it could not be taken apart.
            error: why it could not.

        Raises:
            UnsupportedStateError: on all ranks alike: a rank cannot save its state, or the ranks
                do not agree on the step.
        """
        signature = None if flat is None else signature_of(flat)
        same = signature is not None and signature == self._signature
        kept, low, high = self._ranks.min_of([int(same), step, -step])
        if low != -high:
            raise UnsupportedStateError(
                f"the ranks want to save different steps: from {low} to {-high}",
                hint="all ranks must call save() at the same step",
            )
        if kept and self._plan is not None:
            return self._plan
        self._plan = self._agree(flat, error)
        self._signature = signature
        return self._plan

    def _agree(self, flat: Flat | None, error: BaseException | None) -> Plan:
        offer: _Offer | None = None
        if flat is not None and error is None:
            try:
                offer = _offer(flat)
            except (RuntimeError, ValueError, TypeError, NotImplementedError) as reason:
                error = UnsupportedStateError(f"the state cannot be saved: {reason}")
        offers = self._ranks.gather((offer, error))
        plans: list[Plan | BaseException] | None = None
        if offers is not None:
            plans = _divide(offers)
        mine = self._ranks.scatter(plans)
        if isinstance(mine, BaseException):
            self._plan = self._signature = None
            raise mine
        return mine


def signature_of(flat: Flat) -> Signature:
    """Return what a plan depends on; equal signatures on all ranks mean equal plans."""
    tensors = tuple(
        (
            key,
            tensor.dtype,
            tensor.shape,
            (tensor.placements, tensor.device_mesh) if isinstance(tensor, DTensor) else None,
        )
        for key, tensor in flat.tensors.items()
    )
    return tensors, tuple(flat.objects)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return what of a tensor is in this process, without its history."""
    mine: torch.Tensor = tensor.detach()
    return mine.to_local() if isinstance(mine, DTensor) else mine


def dtype_name(dtype: torch.dtype) -> str:
    """Return ``float32`` for torch.float32."""
    return str(dtype).removeprefix("torch.")


def _offer(flat: Flat) -> _Offer:
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    planner.set_up_planner(dict(flat.tensors))
    return _Offer(planner.create_local_plan(), tuple(flat.objects), flat.paths)


def _divide(offers: list[tuple[_Offer | None, BaseException | None]]) -> list[Plan | BaseException]:
    """Give every part to one rank: what many ranks have goes to the one with the least to write."""
    num_ranks = len(offers)
    for rank, (_, error) in enumerate(offers):
        if error is not None:
            return [_on_rank(rank, error, num_ranks)] * num_ranks
    given = [offer for offer, _ in offers if offer is not None]
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    try:
        plans, _ = planner.create_global_plan([offer.plan for offer in given])
    except (ValueError, AssertionError) as error:
        return [
            UnsupportedStateError(f"the ranks' states do not fit together: {error}")
        ] * num_ranks
    images = [lay_out([_chunk(item) for item in plan.items]) for plan in plans]
    objects: dict[str, int] = {}
    paths: dict[str, Any] = {}
    for rank, offer in enumerate(given):
        paths |= offer.paths
        for key in offer.objects:
            objects.setdefault(key, rank)
    index = make(images, objects, paths).encode()
    owned = [
        tuple(key for key, owner in objects.items() if owner == rank) for rank in range(num_ranks)
    ]
    return [
        Plan(image, tuple(owned[rank]), index if rank == 0 else b"")
        for rank, image in enumerate(images)
    ]


def _on_rank(rank: int, error: BaseException, num_ranks: int) -> BaseException:
    if num_ranks == 1:
        return error
    hint = getattr(error, "hint", "")
    return UnsupportedStateError(f"rank {rank}: {getattr(error, 'message', error)}", hint=hint)


def _chunk(item: Any) -> Chunk:
    data = item.tensor_data
    dtype = data.properties.dtype
    return Chunk(
        item.index.fqn,
        dtype_name(dtype),
        dtype.itemsize,
        tuple(data.size),
        tuple(data.chunk.offsets),
        tuple(data.chunk.sizes),
    )
