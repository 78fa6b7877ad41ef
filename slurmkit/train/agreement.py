"""All ranks do the same at the same boundary: what to do is the maximum of what each one wants.

The exchange overlaps with training: it is started at one boundary and its outcome is applied at the
next, which is the same one on all ranks.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Wishes:
    """What one rank wants, or what all have agreed on.

    Attributes:
        stop: save and stop.
        save: save and go on.
        busy: no save can start now: one is under way, or the last one failed a moment ago.
        deadline: unix time by which all have to be gone; infinite when nobody said.
        stride: boundaries from one exchange to the next; rank 0 proposes it.
    """

    stop: bool = False
    save: bool = False
    busy: bool = False
    deadline: float = math.inf
    stride: int = 0


_NOTHING = Wishes()


class Agreement:
    """The exchange of wishes.

    Args:
        group: a group of all ranks on CPU that nothing else uses at the same time; None for one
            process alone.
    """

    def __init__(self, group: Any = None) -> None:
        self._group = group
        self._work: Any = None
        # stop, save, busy, -deadline (the maximum is the earliest one), stride
        self._values = torch.empty(5, dtype=torch.float64)
        self._numbers = self._values.numpy()  # reading and writing through numpy is quicker

    @property
    def pending(self) -> bool:
        """Whether there is an outcome to `finish`; alone there always is."""
        return self._work is not None or self._group is None

    def start(self, wishes: Wishes) -> None:
        """Tell the others; every rank calls it at every boundary."""
        if self._group is None:
            return
        self._numbers[:] = (
            wishes.stop,
            wishes.save,
            wishes.busy,
            -wishes.deadline,
            wishes.stride,
        )
        self._work = dist.all_reduce(
            self._values, op=dist.ReduceOp.MAX, group=self._group, async_op=True
        )

    def finish(self, mine: Wishes) -> Wishes:
        """Return what all wanted at the last boundary; every rank gets the same.

        Args:
            mine: what this rank wants now, which is what counts when it is alone.
        """
        if self._group is None:
            return mine
        if self._work is None:
            return _NOTHING
        self._work.wait()
        self._work = None
        stop, save, busy, negated, stride = self._numbers.tolist()
        return Wishes(bool(stop), bool(save), bool(busy), -negated, int(stride))

    def any(self, mine: bool) -> bool:
        """Return whether any rank says so, now; waits for all ranks, and for `start` before it."""
        if self._group is None:
            return mine
        number = torch.tensor([mine], dtype=torch.int32)
        dist.all_reduce(number, op=dist.ReduceOp.MAX, group=self._group)
        return bool(number.item())


def side_group(timeout: timedelta) -> Any:
    """Return a group of all ranks on CPU for slurmkit alone; None for one process alone.

    Not the default group even where that is gloo: its operations are matched by their order, and
    DistributedDataParallel starts some from threads of its own.
    """
    if dist.get_world_size() == 1:
        return None
    return dist.new_group(backend="gloo", timeout=timeout)
