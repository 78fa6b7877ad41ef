"""From the times of repetitions to what is reported of them."""

from collections.abc import Sequence
from statistics import median

from slurmkit.bench.values import Times


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values do not exceed.

    Nearest rank: always one of the values, so that a p99 was really seen.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-share * len(ordered) // 1)
    return ordered[min(len(ordered), max(1, int(rank))) - 1]


def over_ranks(per_rank: Sequence[Sequence[float]]) -> list[float]:
    """Return each repetition's time as the mean over the ranks, as OSU and nccl-tests do.

    The slowest rank is not taken: it is mostly the one that left the barrier before it first.
    """
    return [sum(times) / len(times) for times in zip(*per_rank, strict=True)]


def times_of(repetitions: Sequence[float]) -> Times:
    """Return what is reported of the times of all repetitions, in seconds."""
    return Times(
        min_s=min(repetitions),
        median_s=median(repetitions),
        mean_s=sum(repetitions) / len(repetitions),
        p95_s=quantile(repetitions, 0.95),
        p99_s=quantile(repetitions, 0.99),
        max_s=max(repetitions),
    )


def num_repetitions(once_s: float, budget_s: float, fixed: int | None) -> int:
    """Return how often to repeat: as asked, or what fits the budget, within reason.

    At least 5, so that there is a median; at most 1000, so that small messages end some time.
    """
    if fixed is not None:
        return fixed
    return max(5, min(1000, int(budget_s / max(once_s, 1e-9))))
