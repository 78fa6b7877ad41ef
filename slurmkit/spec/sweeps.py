"""The elements that a sweep stands for."""

from itertools import product

from slurmkit.spec.models import JobSpec


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
