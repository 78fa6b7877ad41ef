"""The result as a picture, PNG or SVG, by matplotlib."""

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slurmkit.bench.formulas import MATRIX, rated_bytes_per_s
from slurmkit.bench.report import ranks_on
from slurmkit.bench.sizes import format_rate, format_size
from slurmkit.bench.values import BenchResult
from slurmkit.errors import SlurmkitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMATS = (".png", ".svg", ".pdf")
_BLUE, _ORANGE = "#1f5f99", "#c8641e"
_DPI = 150
_MOST_LABELS, _FEW_LABELS = 24, 6


def check_picture(path: Path) -> None:
    """Refuse a picture that cannot be drawn: better before an hour of measuring than behind it.

    Raises:
        UsageError: the file's name has no known ending, or its folder is not there.
        SlurmkitError: matplotlib is not installed.
    """
    if path.suffix not in _FORMATS:
        raise UsageError(f"{path}: unknown kind of picture", hint=f"End in {', '.join(_FORMATS)}.")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    if importlib.util.find_spec("matplotlib") is None:
        raise SlurmkitError("pictures need matplotlib", hint="pip install 'slurmkit[plot]'")


def draw(results: "Sequence[BenchResult]", path: Path) -> None:
    """Draw results of one operation into a file; several sweeps share the axes.

    Raises:
        UsageError: ``check_picture`` refuses it, or the results are of several kinds.
        SlurmkitError: matplotlib is not installed, or the file cannot be written.
    """
    check_picture(path)
    if len({result.operation for result in results}) != 1:
        raise UsageError("a picture shows one operation")
    import matplotlib as mpl  # noqa: PLC0415 - only those who draw pay for it
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "slurmkit"  # the same result gives the same bytes
    figure = Figure(figsize=(8, 5), layout="constrained")
    if results[0].operation == MATRIX:
        _draw_matrix(figure, results[0])
    else:
        _draw_sweeps(figure, results)
    try:
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, dpi=_DPI, metadata=metadata)
    except OSError as error:
        raise SlurmkitError(f"cannot write {path}: {error.strerror}") from error


def _draw_sweeps(figure: Any, results: "Sequence[BenchResult]") -> None:
    bandwidth, latency = figure.subplots(1, 2)
    for index, result in enumerate(results):
        colour = _BLUE if len(results) == 1 else f"C{index}"
        sizes = [row.size_bytes for row in result.rows]
        label = f"{result.library}, {ranks_on(result)}"
        rates = [row.bus_bytes_per_s / 1e9 for row in result.rows]
        bandwidth.plot(sizes, rates, "o-", color=colour, markersize=4, label=label)
        typical = [row.times.typical_s * 1e6 for row in result.rows]
        latency.plot(sizes, typical, "o-", color=colour, markersize=4, label="median")
        if all(row.times.p99_s is not None for row in result.rows):
            late = [(row.times.p99_s or 0.0) * 1e6 for row in result.rows]
            latency.fill_between(sizes, typical, late, color=colour, alpha=0.15, label="to p99")
        if result.rated is not None:
            limit = rated_bytes_per_s(result.operation, result.rated)
            text = f"rated, {format_rate(limit)}"
            bandwidth.axhline(limit / 1e9, color=_ORANGE, linestyle="--", label=text)
    ticks = sorted({row.size_bytes for result in results for row in result.rows})
    for axes in (bandwidth, latency):
        axes.set_xscale("log", base=2)
        shown = ticks[:: max(1, len(ticks) // 8)]
        axes.set_xticks(shown, [_about(size) for size in shown], rotation=45)
        axes.set_xlabel("size")
        axes.grid(visible=True, color="#e4e4e4")
        axes.spines[["top", "right"]].set_visible(False)
    latency.set_yscale("log")
    latency.set_ylabel("time, µs")
    bandwidth.set_ylabel("bus bandwidth, GB/s")
    bandwidth.set_ylim(bottom=0)
    bandwidth.legend(frameon=False, fontsize="small", loc="upper left")
    latency.legend(frameon=False, fontsize="small", loc="upper left")
    figure.suptitle(f"{results[0].operation}: bus bandwidth = {results[0].formula}", fontsize=11)


def _about(size_bytes: int) -> str:
    """Return a size for an axis; one rounded up for its ranks keeps the name of the size asked."""
    exact = format_size(size_bytes)
    if len(exact) <= 4:
        return exact
    for unit, name in ((1024**3, "G"), (1024**2, "M"), (1024, "K")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.0f}{name}"
    return exact


def _draw_matrix(figure: Any, result: BenchResult) -> None:
    rails = sorted({pair.rail for pair in result.pairs})
    names = sorted({name for pair in result.pairs for name in (pair.first, pair.second)})
    place = {name: index for index, name in enumerate(names)}
    most = max((pair.bytes_per_s for pair in result.pairs), default=1.0) / 1e9
    columns = min(4, max(1, len(rails)))
    grid = figure.subplots(-(-len(rails) // columns) or 1, columns, squeeze=False)
    image = None
    for rail, axes in zip(rails, grid.flat, strict=False):
        cells: list[list[float]] = [[float("nan")] * len(names) for _ in names]
        for pair in (pair for pair in result.pairs if pair.rail == rail):
            one, other = place[pair.first], place[pair.second]
            cells[one][other] = cells[other][one] = pair.bytes_per_s / 1e9
        image = axes.imshow(cells, vmin=0, vmax=most, cmap="viridis")
        axes.set_title(f"rail {rail}", fontsize=10)
        step = -(-len(names) // (_MOST_LABELS if columns == 1 else _FEW_LABELS))
        shown = range(0, len(names), max(1, step))
        axes.set_xticks(list(shown), [names[i] for i in shown], rotation=90, fontsize="small")
        axes.set_yticks(list(shown), [names[i] for i in shown], fontsize="small")
        if len(names) <= 8 and columns == 1:
            _write_cells(axes, cells, most)
    for axes in list(grid.flat)[len(rails) :]:
        axes.set_visible(False)
    if image is not None:
        figure.colorbar(image, ax=grid, label="GB/s", shrink=0.8)
    slow = ", ".join(finding.name for finding in result.findings[:3])
    title = f"every pair over {result.library}"
    figure.suptitle(f"{title}; slow: {slow}" if slow else title, fontsize=11)


def _write_cells(axes: Any, cells: list[list[float]], most: float) -> None:
    for row, values in enumerate(cells):
        for column, value in enumerate(values):
            if not math.isnan(value):  # a node does not meet itself
                colour = "black" if value > most / 2 else "white"
                axes.text(column, row, f"{value:.2g}", ha="center", va="center", color=colour)
