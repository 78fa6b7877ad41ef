"""How many elements a sweep stands for."""

from math import prod

from slurmkit.spec.models import JobSpec


def num_elements(spec: JobSpec) -> int:
    """Return how many combinations a sweep has, without making them; 0 for a job without one."""
    return prod(map(len, spec.sweep.matrix.values())) if spec.sweep is not None else 0
