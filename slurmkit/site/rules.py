"""Names in site.yaml that must fit together, and what a site must not set."""

from collections.abc import Iterator

from slurmkit.errors import Problem
from slurmkit.reserved import refused_option, why_reserved
from slurmkit.site.health import broken_health
from slurmkit.site.models import Site
from slurmkit.site.tiers_rules import tier_rules
from slurmkit.yamlfile.nodes import SourceMap, by_place

_Found = tuple[str, str, str, str]  # message, key, hint, code


def broken_rules(site: Site, source: SourceMap) -> list[Problem]:
    """Return every problem of the whole, with its place."""
    rules = (
        *(tier_rules, _references, _defaults, _variables, _directives),
        *(broken_health, _switches),
    )
    found = [
        Problem(message, key, source.locate(key), hint, code)
        for rule in rules
        for message, key, hint, code in rule(site)
    ]
    return sorted(found, key=by_place)


def _switches(site: Site) -> Iterator[_Found]:
    if site.switches is not None or site.elastic is not None:
        from slurmkit.site.switch_rules import broken_switches  # noqa: PLC0415 (few sites have them)

        yield from broken_switches(site)


def _references(site: Site) -> Iterator[_Found]:
    for name, partition in site.partitions.items():
        if partition.node_type is not None and partition.node_type not in site.node_types:
            key = f"partitions.{name}.node_type"
            yield _unknown(key, partition.node_type, "node_types", list(site.node_types))
    for name, tier in site.tiers.items():
        # A site that describes no partitions leaves them all to Slurm.
        if tier.partition is not None and site.partitions and tier.partition not in site.partitions:
            key = f"tiers.{name}.partition"
            yield _unknown(key, tier.partition, "partitions", list(site.partitions))
    for index, name in enumerate(site.fabric.partitions if site.fabric else []):
        if site.partitions and name not in site.partitions:
            key = f"fabric.partitions.{index}"
            yield _unknown(key, name, "partitions", list(site.partitions))
    for kind, presets in site.presets_for.items():
        for index, preset in enumerate(presets):
            if preset not in site.env_presets:
                key = f"presets_for.{kind}.{index}"
                yield _unknown(key, preset, "env_presets", list(site.env_presets))


def _unknown(key: str, name: str, section: str, known: list[str]) -> _Found:
    from slurmkit.yamlfile.problems import nearest  # noqa: PLC0415 - for mistakes only

    hint = nearest(name, known) or f"Describe {name} under {section}."
    return f"there is no {name!r} under {section}", key, hint, "unknown-name"


def _defaults(site: Site) -> Iterator[_Found]:
    defaults = [name for name, partition in site.partitions.items() if partition.default]
    for name in defaults[1:]:
        yield (
            f"{defaults[0]} is the default already",
            f"partitions.{name}.default",
            "Keep one default.",
            "impossible",
        )
    named = site.default_partition
    if named is not None and defaults and named not in defaults:
        yield (
            f"names {named}, and partition {defaults[0]} says default: true",
            "default_partition",
            "Keep one of the two.",
            "impossible",
        )


def _variables(site: Site) -> Iterator[_Found]:
    layers = [("env", site.env)]
    layers += [(f"env_presets.{name}", preset) for name, preset in site.env_presets.items()]
    layers += [("fabric.env", site.fabric.env)] if site.fabric else []
    for key, layer in layers:
        for name in layer:
            if reason := why_reserved(name):
                message = f"a site may not set {name}: {reason}"
                yield message, f"{key}.{name}", "Remove it.", "reserved-name"


def _directives(site: Site) -> Iterator[_Found]:
    for index, line in enumerate(site.sbatch):
        refused = refused_option(line)
        # An option with a key in job.yaml is the site's to set: it comes before what jobs say.
        if refused is not None and not refused[2]:
            message, hint, _ = refused
            yield message, f"sbatch.{index}", hint, "refused-option"
