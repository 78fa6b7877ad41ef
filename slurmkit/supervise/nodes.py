"""Waits until every node has said how it is, and keeps count of the tasks that live on them."""

import asyncio
from collections.abc import Iterable, Sequence

from slurmkit.health.verdict import Verdict

_MOST_WORDS = 160


class Roll:
    """Calls the roll before the first launch.

    Args:
        nodes: the nodes that are expected.
    """

    def __init__(self, nodes: Sequence[str]) -> None:
        self.bad: dict[str, str] = {}
        self._missing = set(nodes)
        self._complete = asyncio.Event()
        if not nodes:
            self._complete.set()

    def up(self, host: str, verdicts: Sequence[Verdict]) -> None:
        """A node is there, and its checks have found this."""
        failed = [verdict for verdict in verdicts if verdict.refuses]
        if failed and host in self._missing:
            words = "; ".join(f"{verdict.check}: {verdict.detail}" for verdict in failed)
            self.bad[host] = f"it failed the checks before the start: {words[:_MOST_WORDS]}"
        self._answered(host)

    def lost(self, host: str, reason: str) -> None:
        """A node does not answer."""
        if host in self._missing:
            self.bad[host] = reason
        self._answered(host)

    def _answered(self, host: str) -> None:
        self._missing.discard(host)
        if not self._missing:
            self._complete.set()

    def hurry(self) -> None:
        """Stop waiting."""
        self._complete.set()

    async def complete(self, timeout_s: float) -> dict[str, str]:
        """Return the nodes not to use, each with the reason, once all have answered."""
        try:
            await asyncio.wait_for(self._complete.wait(), timeout_s)
        except asyncio.TimeoutError:
            late = f"no agent of it has answered within {timeout_s:g} s"
            self.bad |= dict.fromkeys(self._missing, late)
        return dict(self.bad)


def to_drain(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the verdicts for which the site should be asked to drain the node."""
    return [item for item in verdicts if item.drains]


class LiveTasks:
    """The processes of tasks that agents have seen start and not yet seen end."""

    def __init__(self) -> None:
        self._alive: dict[str, set[int]] = {}
        self._changed = asyncio.Event()
        self._hosts: dict[int, str] = {}

    def clear(self) -> None:
        """A new attempt begins."""
        self._alive.clear()
        self._hosts.clear()

    def up(self, rank: int | None, host: str, pid: int) -> None:
        """A task has started."""
        self._alive.setdefault(host, set()).add(pid)
        if rank is not None:
            self._hosts[rank] = host

    def gone(self, host: str, pid: int) -> None:
        """A task's process has ended."""
        self._alive.get(host, set()).discard(pid)
        self._changed.set()

    def lost(self, host: str) -> None:
        """Nothing more will be heard of this node."""
        self._alive.pop(host, None)
        self._changed.set()

    def hosts(self, ranks: Iterable[int]) -> tuple[str, ...]:
        """Return where these ranks run, as far as it is known."""
        return tuple(dict.fromkeys(self._hosts[rank] for rank in ranks if rank in self._hosts))

    async def all_gone(self, timeout_s: float) -> bool:
        """Return once none is alive; False when some still are after the timeout."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while any(self._alive.values()):
            self._changed.clear()
            left_s = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, left_s))
            except asyncio.TimeoutError:
                return False
        return True
