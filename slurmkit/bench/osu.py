"""OSU micro-benchmarks: which program measures what, and its output as values.

The formats are those of versions 5 to 7: lines of comments, a header whose columns are two or more
spaces apart, then numbers.
"""

import re
from collections.abc import Sequence

from slurmkit.bench.formulas import ALLGATHER, ALLREDUCE, P2P, bus_factor
from slurmkit.bench.order import Order
from slurmkit.bench.values import Row, Times
from slurmkit.errors import SlurmkitError, UsageError

PROGRAMS = {ALLREDUCE: "osu_allreduce", ALLGATHER: "osu_allgather", P2P: "osu_latency"}
_COLUMNS = {
    "Latency (us)": "mean",
    "Avg Latency(us)": "mean",
    "Avg Latency (us)": "mean",
    "Min Latency(us)": "min",
    "Max Latency(us)": "max",
    "Iterations": "repetitions",
    "Validation": "validation",
}
_VERSION = re.compile(r"# OSU .*?(v\d+(?:\.\d+)*)")


def osu_program(operation: str) -> str:
    """Return the program that measures an operation.

    Raises:
        UsageError: there is none.
    """
    if operation not in PROGRAMS:
        raise UsageError(
            f"OSU's benchmarks have no {operation}",
            hint=f"They have {', '.join(PROGRAMS)}; the matrix goes --via mpi.",
        )
    return PROGRAMS[operation]


def osu_arguments(order: Order, world_size: int, *, validates: bool) -> list[str]:
    """Return the program's options.

    Args:
        order: what to measure; OSU doubles the size from the smallest to the largest.
        world_size: number of ranks, among which OSU's all-gather does not divide the size.
        validates: whether this version compares results (-c, from 6 on).
    """
    share = world_size if order.operation == ALLGATHER else 1
    low, high = (max(4, size // share) for size in (order.sizes[0], order.sizes[-1]))
    words = ["-m", f"{low}:{high}", "-x", str(order.warm_up)]
    if order.repetitions is not None:
        words += ["-i", str(order.repetitions)]
    if order.operation != P2P:
        words.append("-f")  # min, max and the number of repetitions besides the mean
    return [*words, "-c"] if validates else words


def osu_rows(text: str, operation: str, world_size: int) -> list[Row]:
    """Return what a program printed.

    Raises:
        SlurmkitError: there are no sizes in it, or a result was wrong.
    """
    columns: list[str] = []
    rows = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# Size"):
            columns = re.split(r"\s{2,}", stripped.removeprefix("# "))
        elif columns and stripped[:1].isdigit():
            try:
                rows.append(_row(columns, stripped.split(), operation, world_size))
            except (KeyError, ValueError) as error:
                raise SlurmkitError(
                    f"{PROGRAMS[operation]} printed {stripped!r} under {', '.join(columns)}, in "
                    "which no time is known",
                    hint="the formats of OSU's versions 5 to 7 are; measure --via mpi",
                ) from error
    if not rows:
        raise SlurmkitError(
            f"{PROGRAMS[operation]} printed no sizes",
            hint="see the log of rank 0 in the run directory",
        )
    return rows


def osu_library(text: str) -> str:
    """Return the benchmarks' version as they print it."""
    match = _VERSION.search(text)
    return f"OSU micro-benchmarks {match[1]}" if match else "OSU micro-benchmarks"


def _row(columns: Sequence[str], words: Sequence[str], operation: str, world_size: int) -> Row:
    values = {
        _COLUMNS[name]: word
        for name, word in zip(columns[1:], words[1:], strict=False)
        if name in _COLUMNS
    }
    if values.get("validation", "Pass") != "Pass":
        raise SlurmkitError(
            f"wrong result: {PROGRAMS[operation]} of {words[0]} bytes says {values['validation']}",
            hint="the library or the hardware damages data: run no job on these nodes",
        )
    # OSU's size of an all-gather is what each rank gives.
    size = int(words[0]) * (world_size if operation == ALLGATHER else 1)
    times = Times(
        mean_s=float(values["mean"]) * 1e-6,
        min_s=_seconds(values.get("min")),
        max_s=_seconds(values.get("max")),
    )
    algorithm = size / times.typical_s
    bus = algorithm * bus_factor(operation, world_size)
    return Row(size, int(values.get("repetitions", 0)), times, algorithm, bus)


def _seconds(microseconds: str | None) -> float | None:
    return None if microseconds is None else float(microseconds) * 1e-6
