"""Lines of slurm.conf that parts of site.yaml bring along, each made beside its section. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slurmkit.site import elastic, health, switches, tiers
from slurmkit.site.generate.release import Release

if TYPE_CHECKING:
    from slurmkit.site.models import Site


def owner_lines(site: "Site", release: Release) -> Mapping[str, list[str]]:
    """Return the lines of each part: ``switches``, ``tiers``, ``health``, ``elastic``."""
    return {
        "switches": switches.slurm_conf_lines(site, release),
        "tiers": tiers.slurm_conf_lines(site, release),
        "health": health.slurm_conf_lines(site, release),
        "elastic": elastic.slurm_conf_lines(site, release),
    }
