"""The rules, one module per subject; importing this package registers all of them."""

from slurmkit.sitecheck.rules import (
    accounting,
    gres,
    keywords,
    nodes,
    partitions,
    places,
    power,
    processes,
    programs,
    scheduling,
    secrets,
    site,
    timeouts,
    topology,
    topology_yaml,
    values,
)

__all__ = [
    "accounting",
    "gres",
    "keywords",
    "nodes",
    "partitions",
    "places",
    "power",
    "processes",
    "programs",
    "scheduling",
    "secrets",
    "site",
    "timeouts",
    "topology",
    "topology_yaml",
    "values",
]
