"""The few things that ranks tell each other, over a gloo group; or one process alone."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from slurmkit.checkpoint.errors import CheckpointError

T = TypeVar("T")


class Ranks:
    """The ranks that save and load together.

    Args:
        group: a group on CPU, such as gloo; None takes the default group, or makes one of gloo when
            the default group cannot carry CPU tensors, or is one process alone when there is none.
    """

    def __init__(self, group: Any = None) -> None:
        self._group = group
        self._made = False
        self.rank, self.world_size = 0, 1
        if not (dist.is_available() and dist.is_initialized()):
            return
        if group is None and "gloo" not in str(dist.get_backend_config()):
            self._group = dist.new_group(backend="gloo")
            self._made = True
        self.rank = dist.get_rank(self._group)
        self.world_size = dist.get_world_size(self._group)

    def min_of(self, values: Sequence[int]) -> list[int]:
        """Return the smallest of each value over all ranks."""
        if self.world_size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(numbers, op=dist.ReduceOp.MIN, group=self._group)
        return [int(number) for number in numbers]

    def gather(self, value: T) -> list[T] | None:
        """Return what each rank gave, on rank 0; None elsewhere."""
        if self.world_size == 1:
            return [value]
        values: list[Any] | None = [None] * self.world_size if self.rank == 0 else None
        dist.gather_object(value, values, group=self._group, group_dst=0)
        return values

    def scatter(self, values: Sequence[T] | None) -> T:
        """Return to each rank its own of what rank 0 gave."""
        if self.world_size == 1:
            assert values is not None
            return values[0]
        given = None if values is None else list(values)
        mine: list[Any] = [None]
        dist.scatter_object_list(mine, given, group=self._group, group_src=0)
        result: T = mine[0]
        return result

    def from_first(self, value: T) -> T:
        """Return what rank 0 gave, on all ranks."""
        if self.world_size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, group=self._group, group_src=0)
        result: T = values[0]
        return result

    def first_error(self, error: CheckpointError | None) -> CheckpointError | None:
        """Return the error of the lowest rank that has one, on all ranks alike."""
        if self.world_size == 1:
            return error
        mine = self.world_size if error is None else self.rank
        lowest = self.min_of([mine])[0]
        if lowest == self.world_size:
            return None
        values: list[Any] = [error]
        dist.broadcast_object_list(values, group=self._group, group_src=lowest)
        result: CheckpointError = values[0]
        return result

    def close(self) -> None:
        """Give up the group if it was made here."""
        if self._made and dist.is_initialized():
            dist.destroy_process_group(self._group)
            self._made = False
