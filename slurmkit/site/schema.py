"""JSON Schema of site.yaml, by which editors complete keys and mark mistakes."""

from typing import Any

from slurmkit.site.examples import EXAMPLES
from slurmkit.site.models import Site
from slurmkit.yamlfile.schema import schema_of


def site_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of site.yaml."""
    return schema_of(Site, "slurmkit site.yaml", EXAMPLES)
