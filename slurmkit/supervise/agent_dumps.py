"""Wait until every agent has saved the stacks of its ranks, or never will."""

import asyncio
import contextlib
from collections.abc import Iterable


class Dumps:
    """The dumps under way, each with a number that the agents' answers carry."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[set[str], asyncio.Event]] = {}
        self._count = 0

    def begin(self, hosts: Iterable[str]) -> int:
        """Begin to wait for these agents; return the number of the dump."""
        self._count += 1
        self._waiting[self._count] = (set(hosts), asyncio.Event())
        return self._count

    async def complete(self, number: int, timeout_s: float) -> None:
        """Return once all have answered, or the time is over."""
        hosts, done = self._waiting[number]
        if hosts:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(done.wait(), timeout_s)
        del self._waiting[number]

    def answered(self, host: str, number: int) -> None:
        """This agent has saved what there is for a dump."""
        hosts, done = self._waiting.get(number, (set(), None))
        hosts.discard(host)
        if done is not None and not hosts:
            done.set()

    def lost(self, host: str) -> None:
        """This agent will not answer any more."""
        for number in self._waiting:
            self.answered(host, number)

    def finish(self) -> None:
        """Nobody will answer any more."""
        for _, done in self._waiting.values():
            done.set()
