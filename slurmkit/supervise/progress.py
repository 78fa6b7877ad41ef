"""How far all ranks of an attempt are, from what each node says of its own: pure."""

from typing import NamedTuple

from slurmkit.supervise.agent_events import Progress
from slurmkit.supervise.agent_wire import Message


class NodeSteps(NamedTuple):
    """The ranks of one node.

    Attributes:
        low: the step that all of them have done.
        low_rank: the rank that is furthest behind.
        high: the step of the rank that is furthest ahead.
        high_rank: that rank.
        num_ranks: ranks that have reported.
        epoch: of the rank that is furthest behind.
    """

    low: int
    low_rank: int
    high: int
    high_rank: int
    num_ranks: int
    epoch: int | None = None


class ProgressBoard:
    """What the nodes said last."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeSteps] = {}
        self._changed = False

    def clear(self) -> None:
        """Forget everything: a new attempt begins."""
        self._nodes.clear()
        self._changed = False

    def forget(self, host: str) -> None:
        """Leave out a node that takes no part any more."""
        self._nodes.pop(host, None)

    def report(self, host: str, message: Message) -> None:
        """Take what a node's agent says."""
        epoch = message.get("epoch")
        steps = NodeSteps(
            low=int(message["low"]),
            low_rank=int(message["low_rank"]),
            high=int(message["high"]),
            high_rank=int(message["high_rank"]),
            num_ranks=int(message["num_ranks"]),
            epoch=int(epoch) if epoch is not None else None,
        )
        self._changed |= self._nodes.get(host) != steps
        self._nodes[host] = steps

    def take(self) -> Progress | None:
        """Return where all ranks are, if that has changed since this was last called."""
        if not self._changed or not self._nodes:
            return None
        self._changed = False
        low_host, low = min(self._nodes.items(), key=lambda item: item[1].low)
        high = max(self._nodes.values(), key=lambda item: item.high)
        return Progress(
            step=low.low,
            epoch=low.epoch,
            rank_min=low.low_rank,
            rank_max=high.high_rank,
            step_max=high.high,
            num_ranks=sum(item.num_ranks for item in self._nodes.values()),
            host_min=low_host,
        )

    def behind(self, most: int = 64) -> tuple[int, ...]:
        """Return the ranks that are behind the others, one per node; none when all are level."""
        if not self._nodes:
            return ()
        low = min(item.low for item in self._nodes.values())
        if low == max(item.high for item in self._nodes.values()):
            return ()
        found = sorted(item.low_rank for item in self._nodes.values() if item.low == low)
        return tuple(found[:most])
