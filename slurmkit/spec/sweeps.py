"""The elements that a sweep stands for."""

from itertools import product
from math import prod

from slurmkit.spec.models import JobSpec


def num_elements(spec: JobSpec) -> int:
    """Return how many combinations a sweep has, without making them; 0 for a job without one."""
    return prod(map(len, spec.sweep.matrix.values())) if spec.sweep is not None else 0


def sweep_elements(spec: JobSpec) -> list[dict[str, str]]:
    """Return the values of each array element by name, the last name changing fastest.

    Element ``i`` is array task ``i``. A job without a sweep has no elements.
    """
    if spec.sweep is None:
        return []
    names = list(spec.sweep.matrix)
    return [
        dict(zip(names, values, strict=True)) for values in product(*spec.sweep.matrix.values())
    ]
