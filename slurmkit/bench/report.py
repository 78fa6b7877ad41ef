"""The result as text: a line per size while it is measured, then tables and bars."""

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from slurmkit.bench.formulas import MATRIX, OPERATIONS
from slurmkit.bench.sizes import format_rate, format_size, format_time
from slurmkit.bench.values import BenchResult, Pair, Row

if TYPE_CHECKING:
    from slurmkit.bench.transport import Transport

_BAR = "▏▎▍▌▋▊▉█"
_WIDTH = 30
#: More nodes than this do not fit a terminal as a matrix; findings and extremes still do.
_MOST_IN_MATRIX = 16


def header_line(operation: str, transport: "Transport") -> str:
    """Return what rank 0 prints first."""
    about = OPERATIONS[operation]
    return (
        f"{operation} over {transport.library} on {transport.device}, "
        f"{transport.world_size} ranks; bus bandwidth = {about.formula}"
    )


def row_line(row: Row) -> str:
    """Return one size as rank 0 prints it when it is done."""
    return (
        f"{format_size(row.size_bytes):>8}  {format_time(row.times.typical_s):>10}"
        f"  bus {format_rate(row.bus_bytes_per_s):>12}  x{row.repetitions}"
    )


def summary_lines(result: BenchResult) -> list[str]:
    """Return what was measured, where and by what."""
    lines = [
        f"{result.operation} over {result.library} on {result.device}: {ranks_on(result)}",
        f"size: {result.size_means}",
        f"bus bandwidth: {result.formula}",
    ]
    if result.rated is not None:
        rated = result.rated
        lines.append(
            f"rated: {rated.links_per_node} x {format_rate(rated.link_bytes_per_s)} per node, "
            f"from {rated.source}"
        )
    return lines


def ranks_on(result: BenchResult) -> str:
    """Return how many ranks there were, on how many nodes."""
    where = f"{len(result.hosts)} nodes" if len(result.hosts) > 1 else "one node"
    return f"{result.world_size} rank{'s' if result.world_size != 1 else ''} on {where}"


def table_rows(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the lines of a table of all sizes."""
    typical = "MEDIAN" if all(row.times.median_s is not None for row in rows) else "MEAN"
    header = ["SIZE", typical, "P95", "P99", "ALGORITHM", "BUS", "RATED", "COUNT"]
    body = [
        [
            format_size(row.size_bytes),
            format_time(row.times.typical_s),
            _time(row.times.p95_s),
            _time(row.times.p99_s),
            format_rate(row.algorithm_bytes_per_s),
            format_rate(row.bus_bytes_per_s),
            "-" if row.of_rated is None else f"{row.of_rated:.0%}",
            str(row.repetitions) if row.repetitions else "-",
        ]
        for row in rows
    ]
    return header, body


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else format_time(seconds)


def bars(rows: Sequence[Row]) -> list[str]:
    """Return the bus bandwidth over the size as bars of characters."""
    most = max((row.bus_bytes_per_s for row in rows), default=0.0)
    if not most:
        return []
    lines = [f"bus bandwidth, up to {format_rate(most)}"]
    for row in rows:
        eighths = round(row.bus_bytes_per_s / most * _WIDTH * 8)
        full, rest = divmod(max(1, eighths), 8)
        bar = "█" * full + (_BAR[rest - 1] if rest else "")
        lines.append(f"{format_size(row.size_bytes):>8} {bar}")
    return lines


def matrix_tables(result: BenchResult) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, header and lines of one table per rail; none when there are too many nodes."""
    if result.operation != MATRIX:
        return []
    tables = []
    for rail in sorted({pair.rail for pair in result.pairs}):
        pairs = [pair for pair in result.pairs if pair.rail == rail]
        names = sorted({name for pair in pairs for name in (pair.first, pair.second)})
        if len(names) > _MOST_IN_MATRIX:
            continue
        by_names = {(pair.first, pair.second): pair for pair in pairs}
        body = [[one, *(_cell(by_names, one, other) for other in names)] for one in names]
        title = f"rail {rail}: bandwidth above, latency below the diagonal"
        tables.append((title, ["", *names], body))
    return tables


def _cell(pairs: dict[tuple[str, str], Pair], row: str, column: str) -> str:
    if (row, column) in pairs:
        return format_rate(pairs[row, column].bytes_per_s)
    if (column, row) in pairs:
        return format_time(pairs[column, row].latency_s)
    return "-"


def matrix_summary(pairs: Sequence[Pair]) -> list[str]:
    """Return the extremes of all pairs."""
    if not pairs:
        return []
    slowest = min(pairs, key=lambda pair: pair.bytes_per_s)
    fastest = max(pairs, key=lambda pair: pair.bytes_per_s)
    middle = median([pair.bytes_per_s for pair in pairs])
    return [
        f"median {format_rate(middle)}, "
        f"slowest {format_rate(slowest.bytes_per_s)} ({_who(slowest)}), "
        f"fastest {format_rate(fastest.bytes_per_s)} ({_who(fastest)})"
    ]


def _who(pair: Pair) -> str:
    return f"{pair.first} - {pair.second}, rail {pair.rail}"
