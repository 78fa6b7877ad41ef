"""Combinations that no cluster could run, though each part alone is right."""

from slurmkit.errors import Problem
from slurmkit.spec.models import JobSpec
from slurmkit.yamlfile.nodes import SourceMap


def broken_rules(spec: JobSpec, source: SourceMap) -> list[Problem]:
    """Return every problem of the combination, errors and warnings, with its place."""
    found = []
    if spec.array is not None and spec.sweep is not None:
        found.append(
            Problem(
                "array and sweep exclude each other: a sweep is an array already",
                "sweep",
                source.locate("sweep"),
                "Put the values of the array into the sweep's matrix.",
                code="impossible",
            )
        )
    return found
