"""Messages between two ranks: one pair, or every pair of nodes in rounds of a tournament."""

import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from slurmkit.bench import patterns
from slurmkit.bench.order import Order
from slurmkit.bench.sizes import whole_elements
from slurmkit.bench.statistics import num_repetitions
from slurmkit.bench.tournament import rounds
from slurmkit.bench.transport import Message, Transport, compare
from slurmkit.bench.values import Pair
from slurmkit.record import Record

_clock = time.perf_counter
_SMALL_BYTES = 8


class _Match(Record):
    """Two ranks that talk to each other: their numbers, who they stand for, and their rail."""

    ranks: tuple[int, int]
    names: tuple[str, str]
    rail: int


def ping_pong(transport: Transport, order: Order, size: int, hosts: Sequence[str]) -> list[float]:
    """Return half of each round trip between rank 0 and the first rank of the last node, seconds.

    On one node it is the last rank. The others wait.
    """
    last = len(hosts) - 1
    peer = hosts.index(hosts[last]) if hosts[last] != hosts[0] else last
    times: list[list[float]] = transport.share(_rally(transport, order, size, hosts, (0, peer)))
    return times[0]


def matrix(transport: Transport, order: Order, hosts: Sequence[str]) -> list[Pair]:
    """Return what every pair of nodes has on every rail.

    In each round every node has one match, and all of its ranks play it at once, each against the
    rank of the same number on the other node. Where all ranks are on one node, ranks are paired.
    """
    size = whole_elements(order.sizes[-1])
    found = []
    for matches in schedule(hosts):
        mine = next((match for match in matches if transport.rank in match.ranks), None)
        ranks = mine.ranks if mine else None
        small = _rally(transport, order, _SMALL_BYTES, hosts, ranks)
        large = _rally(transport, order, size, hosts, ranks)
        # Medians only: of a thousand ranks all times would be more bytes than were measured.
        mine_s = (median(small), median(large)) if small and large else (0.0, 0.0)
        of_ranks: list[tuple[float, float]] = transport.share(mine_s)
        for match in matches:
            latency_s, time_s = of_ranks[match.ranks[0]]
            found.append(Pair(*match.names, match.rail, size / time_s, latency_s))
    return sorted(found, key=lambda pair: (pair.first, pair.second, pair.rail))


def schedule(hosts: Sequence[str]) -> list[list[_Match]]:
    """Return the matches of each round.

    Args:
        hosts: the node of every rank.
    """
    nodes = list(dict.fromkeys(hosts))
    if len(nodes) < 2:
        names = [f"rank {rank}" for rank in range(len(hosts))]
        return [
            [_Match((a, b), (names[a], names[b]), 0) for a, b in matches]
            for matches in rounds(len(hosts))
        ]
    ranks: dict[str, list[int]] = defaultdict(list)
    for rank, host in enumerate(hosts):
        ranks[host].append(rank)
    return [
        [
            _Match(pair, (nodes[a], nodes[b]), rail)
            for a, b in matches
            for rail, pair in enumerate(zip(ranks[nodes[a]], ranks[nodes[b]], strict=False))
        ]
        for matches in rounds(len(nodes))
    ]


def _rally(
    transport: Transport,
    order: Order,
    size: int,
    hosts: Sequence[str],
    ranks: tuple[int, int] | None,
) -> list[float]:
    """Return half of each of this rank's round trips in seconds; all ranks take part.

    A rank without a match (None, or two others) waits. The bytes are compared before and after,
    outside of the time.
    """
    player = None
    quickest = 0.0
    if ranks is not None and transport.rank in ranks and ranks[0] != ranks[1]:
        player = _Player(transport, ranks, size, hosts[transport.rank])
        player.exchange()
        quickest = min(player.round_trip() for _ in range(order.warm_up))
    # Both of a match must repeat equally often: the time of the one that serves decides.
    shared: list[float] = transport.share(quickest)
    times: list[float] = []
    if player is not None and ranks is not None:
        repetitions = num_repetitions(shared[ranks[0]], order.budget_s, order.repetitions)
        times = [player.round_trip() / 2 for _ in range(repetitions)]
        player.exchange()
    return times


class _Player:
    """One of two ranks that send a message to and fro; the first one serves."""

    def __init__(self, transport: Transport, ranks: tuple[int, int], size: int, host: str) -> None:
        self._serves = transport.rank == ranks[0]
        peer = ranks[1] if self._serves else ranks[0]
        self._message: Message = transport.message(peer, size)
        self._wanted = patterns.give(peer, size)
        self._where = f"{size} bytes from rank {peer} to rank {transport.rank} on {host}"

    def round_trip(self) -> float:
        """Return the seconds of one round trip."""
        start = _clock()
        if self._serves:
            self._message.send()
            self._message.receive()
        else:
            self._message.receive()
            self._message.send()
        return _clock() - start

    def exchange(self) -> None:
        """Do a round trip and compare what came."""
        self._message.clear()
        self.round_trip()
        compare(self._message.received(), self._wanted, self._where)
