"""The measurements, over any library: all ranks run this together and all get the result."""

import time
from collections.abc import Callable, Sequence

from slurmkit.bench import patterns
from slurmkit.bench.formulas import (
    ALLREDUCE,
    MATRIX,
    OPERATIONS,
    P2P,
    bus_factor,
    rated_bytes_per_s,
)
from slurmkit.bench.order import Order, check_ranks
from slurmkit.bench.outliers import find_slow
from slurmkit.bench.pairs import matrix, ping_pong
from slurmkit.bench.rated import rated_of
from slurmkit.bench.sizes import whole_elements
from slurmkit.bench.statistics import num_repetitions, over_ranks, times_of
from slurmkit.bench.transport import Transport, compare
from slurmkit.bench.values import BenchResult, Pair, Rated, Row

_clock = time.perf_counter


def measure(
    transport: Transport,
    order: Order,
    host: str,
    on_row: Callable[[Row], None],
) -> BenchResult:
    """Measure what the order says and return the result, on every rank alike.

    Args:
        transport: connects this rank with all others.
        order: what to measure.
        host: name of this node.
        on_row: told of every size when it has been measured.

    Raises:
        UsageError: there is nobody to send a message to.
        WrongResultError: a result is wrong; the message names host, rank and size.
    """
    check_ranks(order.operation, transport.world_size)
    hosts: list[str] = transport.share(host)
    nodes = list(dict.fromkeys(hosts))
    rated = _rated(transport, order, len(nodes))
    operation = OPERATIONS[order.operation]
    rows: list[Row] = []
    pairs = _pairs(transport, order, hosts, rated) if order.operation == MATRIX else []
    for size in order.sizes if order.operation != MATRIX else ():
        row = _row(transport, order, size, hosts)
        rows.append(row.compared(rated_bytes_per_s(order.operation, rated) if rated else None))
        on_row(rows[-1])
    return BenchResult(
        operation=order.operation,
        via=transport.via,
        library=transport.library,
        device=transport.device,
        world_size=transport.world_size,
        hosts=nodes,
        formula=operation.formula,
        size_means=operation.size_means,
        rows=rows,
        pairs=pairs,
        findings=find_slow(pairs, rated.link_bytes_per_s if rated else None),
        rated=rated,
    )


def _pairs(
    transport: Transport, order: Order, hosts: Sequence[str], rated: Rated | None
) -> list[Pair]:
    """Return every pair; what seems slow is measured once more, and the better figure counts.

    A busy moment makes a pair slow once; a bad cable makes it slow twice.
    """
    pairs = matrix(transport, order, hosts)
    if not find_slow(pairs, rated.link_bytes_per_s if rated else None):
        return pairs
    again = matrix(transport, order, hosts)
    return [
        max(one, other, key=lambda pair: pair.bytes_per_s)
        for one, other in zip(pairs, again, strict=True)
    ]


def _rated(transport: Transport, order: Order, num_nodes: int) -> Rated | None:
    """Return what the slowest node's links are rated for; None where no link is used or known."""
    if num_nodes < 2:
        return None
    found: list[Rated | None] = transport.share(rated_of(order, transport.via))
    known = [item for item in found if item is not None]
    if len(known) < len(found):
        return None
    return min(known, key=lambda item: item.link_bytes_per_s * item.links_per_node)


def _row(transport: Transport, order: Order, size: int, hosts: Sequence[str]) -> Row:
    if order.operation == P2P:
        size = whole_elements(size)
        repetitions = ping_pong(transport, order, size, hosts)
    else:
        size = whole_elements(size, 1 if order.operation == ALLREDUCE else transport.world_size)
        repetitions = _collective(transport, order, size, hosts)
    times = times_of(repetitions)
    algorithm = size / times.typical_s
    bus = algorithm * bus_factor(order.operation, transport.world_size)
    return Row(size, len(repetitions), times, algorithm, bus)


def _collective(transport: Transport, order: Order, size: int, hosts: Sequence[str]) -> list[float]:
    """Return the time of every repetition in seconds; every result is compared, outside of it."""
    call = transport.collective(order.operation, size)
    make = patterns.summed if order.operation == ALLREDUCE else patterns.gathered
    wanted = make(transport.world_size, size)
    where = f"{order.operation} of {size} bytes on {hosts[transport.rank]}, rank {transport.rank}"

    def once() -> float:
        call.reset()
        transport.barrier()
        start = _clock()
        call.run()
        took = _clock() - start
        compare(call.result(), wanted, where)
        return took

    quickest = min(once() for _ in range(order.warm_up))
    longest = max(transport.share(quickest))
    repetitions = num_repetitions(longest, order.budget_s, order.repetitions)
    return over_ranks(transport.share([once() for _ in range(repetitions)]))
