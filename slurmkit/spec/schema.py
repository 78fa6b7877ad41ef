"""JSON Schema of job.yaml, by which editors complete keys and mark mistakes."""

from typing import Any

from slurmkit.spec.examples import EXAMPLES
from slurmkit.spec.models import JobSpec
from slurmkit.yamlfile.schema import schema_of


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of job.yaml, short forms included.

    It knows each key on its own; combinations that make no sense are the loader's to refuse.
    """
    return schema_of(JobSpec, "slurmkit job.yaml", EXAMPLES)
