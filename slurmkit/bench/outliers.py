"""Which node, rail or pair is slow, from the bandwidths of all pairs; pure and robust.

A slow node makes all of its pairs slow, so a pair alone blames nobody. A node is as fast as the
upper quarter of its pairs: a healthy one meets other healthy ones, a slow one meets none. It stands
out when it is below its like by more than a tolerance and by more than they scatter (median
absolute deviation). Where more than half are slow, the median is slow too; then the rated speed
tells.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from slurmkit.bench.sizes import format_rate
from slurmkit.bench.statistics import quantile
from slurmkit.bench.values import Finding, Pair

#: Share below its like from which something stands out.
TOLERANCE = 0.25
# Times the scaled median absolute deviation; 3.5 is Iglewicz and Hoaglin's limit for outliers.
_DEVIATIONS = 3.5
# Median absolute deviation to standard deviation of a normal distribution.
_SCALE = 1.4826
_UPPER = 0.75

_Place = tuple[str, int]  # node and rail


def find_slow(
    pairs: Sequence[Pair], rated_bytes_per_s: float | None = None, tolerance: float = TOLERANCE
) -> list[Finding]:
    """Return what is slower than its like, the widest first.

    Args:
        pairs: every pair of nodes, on every rail.
        rated_bytes_per_s: what one link should carry; None when not known.
        tolerance: share below its like from which something stands out.
    """
    if not pairs:
        return []
    speeds = _speeds(pairs)
    rails = _slow_rails(speeds, tolerance)
    slow_rails = {finding.name for finding in rails}
    kept = {place: speed for place, speed in speeds.items() if _rail(place[1]) not in slow_rails}
    nodes, places = _slow_nodes(kept, tolerance)
    return [
        *_all_slow(pairs, rated_bytes_per_s, tolerance),
        *rails,
        *nodes,
        *_slow_pairs(pairs, speeds, places, tolerance),
    ]


def _speeds(pairs: Sequence[Pair]) -> dict[_Place, float]:
    """Return how fast each node is on each rail, by the best of its partners."""
    met: dict[_Place, list[float]] = defaultdict(list)
    for pair in pairs:
        met[pair.first, pair.rail].append(pair.bytes_per_s)
        met[pair.second, pair.rail].append(pair.bytes_per_s)
    return {place: quantile(values, _UPPER) for place, values in met.items()}


def _slow_rails(speeds: Mapping[_Place, float], tolerance: float) -> list[Finding]:
    by_rail: dict[int, list[float]] = defaultdict(list)
    for (_, rail), speed in speeds.items():
        by_rail[rail].append(speed)
    rails = {_rail(rail): median(values) for rail, values in by_rail.items()}
    slow = _below(rails, tolerance)
    return [
        _finding("rail", name, rails[name], expected, "on all nodes")
        for name, expected in slow.items()
    ]


def _slow_nodes(
    speeds: Mapping[_Place, float], tolerance: float
) -> tuple[list[Finding], set[_Place]]:
    slow: dict[_Place, float] = {}
    for rail in sorted({rail for _, rail in speeds}):
        of_rail = {node: speed for (node, other), speed in speeds.items() if other == rail}
        if len(of_rail) < 3:
            continue  # of two, none can be told to be the slow one
        slow |= {(node, rail): expected for node, expected in _below(of_rail, tolerance).items()}
    findings = []
    for node in sorted({node for node, _ in slow}):
        rails = sorted(rail for name, rail in speeds if name == node)
        bad = [rail for rail in rails if (node, rail) in slow]
        if bad == rails:
            speed = median([speeds[node, rail] for rail in rails])
            expected = median([slow[node, rail] for rail in rails])
            findings.append(_finding("node", node, speed, expected, "with every other node"))
            continue
        findings += [
            _finding(
                "node-rail",
                f"{node} {_rail(rail)}",
                speeds[node, rail],
                slow[node, rail],
                "the node's other rails are as fast as those of other nodes",
            )
            for rail in bad
        ]
    return findings, set(slow)


def _slow_pairs(
    pairs: Sequence[Pair],
    speeds: Mapping[_Place, float],
    blamed: set[_Place],
    tolerance: float,
) -> list[Finding]:
    """Return pairs that are slow though both nodes are fast with others: the way between them."""
    found = []
    for pair in pairs:
        ends = ((pair.first, pair.rail), (pair.second, pair.rail))
        if any(end in blamed for end in ends):
            continue
        expected = min(speeds[end] for end in ends)
        if pair.bytes_per_s < (1 - tolerance) * expected:
            name = f"{pair.first} - {pair.second} {_rail(pair.rail)}"
            why = "both are faster with other nodes"
            found.append(_finding("pair", name, pair.bytes_per_s, expected, why))
    return sorted(found, key=lambda item: item.bytes_per_s)


def _all_slow(
    pairs: Sequence[Pair], rated_bytes_per_s: float | None, tolerance: float
) -> list[Finding]:
    if rated_bytes_per_s is None:
        return []
    middle = median([pair.bytes_per_s for pair in pairs])
    # A message in one direction at a time does not fill a link as many do at once.
    if middle >= (1 - 2 * tolerance) * rated_bytes_per_s:
        return []
    message = (
        f"the median of all pairs is {format_rate(middle)}, "
        f"{middle / rated_bytes_per_s:.0%} of the rated {format_rate(rated_bytes_per_s)}"
    )
    return [Finding("all", "all pairs", middle, rated_bytes_per_s, message)]


def _below(speeds: Mapping[str, float], tolerance: float) -> dict[str, float]:
    """Return which are below their like, and what those have."""
    if len(speeds) < 2:
        return {}
    # Of two, the better one is the measure: both are of the same kind.
    expected = max(speeds.values()) if len(speeds) == 2 else median(list(speeds.values()))
    limit = (1 - tolerance) * expected
    if len(speeds) > 2:
        # Of ratios: where speeds scatter by a half, a tenth still stands out.
        scatter = _SCALE * median([abs(math.log(speed / expected)) for speed in speeds.values()])
        limit = min(limit, expected * math.exp(-_DEVIATIONS * scatter))
    return {name: expected for name, speed in speeds.items() if speed < limit}


def _rail(rail: int) -> str:
    return f"rail {rail}"


def _finding(kind: str, name: str, speed: float, expected: float, why: str) -> Finding:
    message = (
        f"{name} has {format_rate(speed)} where others have {format_rate(expected)} "
        f"({speed / expected:.0%}), {why}"
    )
    return Finding(kind, name, speed, expected, message)
