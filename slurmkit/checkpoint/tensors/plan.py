"""Which rank writes which part of which tensor: worked out once, kept while nothing changes."""

import json
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from slurmkit.checkpoint.tensors.division import divide_whole, whole_chunks
from slurmkit.checkpoint.tensors.errors import UnsupportedStateError
from slurmkit.checkpoint.tensors.image import Chunk, Image, lay_out
from slurmkit.checkpoint.tensors.index import make
from slurmkit.checkpoint.tensors.kinds import is_dtensor, local
from slurmkit.checkpoint.tensors.ranks import Ranks
from slurmkit.checkpoint.tensors.tree import Flat

if TYPE_CHECKING:
    from torch.distributed.checkpoint.planner import SavePlan

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
    """What one rank could write.

    Attributes:
        whole: its tensors, where no rank has a DTensor.
        shards: torch's plan for them, where one has.
        objects: keys of values that are not tensors.
        paths: how each key is reached.
    """

    whole: list[Chunk]
    shards: "SavePlan | None"
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

        While the state keeps its shape this costs one all-reduce of four numbers.

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
        mine = flat is not None and any(is_dtensor(tensor) for tensor in flat.tensors.values())
        kept, low, high, nobody = self._ranks.min_of([int(same), step, -step, int(not mine)])
        if low != -high:
            raise UnsupportedStateError(
                f"the ranks want to save different steps: from {low} to {-high}",
                hint="all ranks must call save() at the same step",
            )
        if kept and self._plan is not None:
            return self._plan
        self._plan = self._agree(flat, error, sharded=not nobody)
        self._signature = signature
        return self._plan

    def _agree(self, flat: Flat | None, error: BaseException | None, *, sharded: bool) -> Plan:
        offer: _Offer | None = None
        if flat is not None and error is None:
            try:
                offer = _offer(flat, sharded)
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
            (tensor.placements, tensor.device_mesh) if is_dtensor(tensor) else None,
        )
        for key, tensor in flat.tensors.items()
    )
    return tensors, tuple(flat.objects)


def _offer(flat: Flat, sharded: bool) -> _Offer:
    whole: list[Chunk] = []
    shards: SavePlan | None = None
    if sharded:
        from slurmkit.checkpoint.tensors import dtensors  # noqa: PLC0415 (see there)

        shards = dtensors.save_plan(flat.tensors)
    else:
        whole = whole_chunks(flat.tensors)
    return _Offer(whole, shards, tuple(flat.objects), flat.paths)


def _divide(offers: list[tuple[_Offer | None, BaseException | None]]) -> list[Plan | BaseException]:
    """Say what each rank writes, or on all ranks alike why nothing can be written."""
    num_ranks = len(offers)
    for rank, (_, error) in enumerate(offers):
        if error is not None:
            return [_on_rank(rank, error, num_ranks)] * num_ranks
    given = [offer for offer, _ in offers if offer is not None]
    try:
        images = [lay_out(chunks) for chunks in _divide_tensors(given)]
    except (ValueError, AssertionError) as error:
        return [
            UnsupportedStateError(f"the ranks' states do not fit together: {error}")
        ] * num_ranks
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


def _divide_tensors(offers: list[_Offer]) -> list[list[Chunk]]:
    shards = [offer.shards for offer in offers if offer.shards is not None]
    if not shards:
        return divide_whole([offer.whole for offer in offers])
    from slurmkit.checkpoint.tensors import dtensors  # noqa: PLC0415 (see there)

    return dtensors.divide(shards)


def _on_rank(rank: int, error: BaseException, num_ranks: int) -> BaseException:
    if num_ranks == 1:
        return error
    hint = getattr(error, "hint", "")
    return UnsupportedStateError(f"rank {rank}: {getattr(error, 'message', error)}", hint=hint)
