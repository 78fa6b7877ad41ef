"""Joins the parts of a site into its files."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slurmkit.site.generate.files import File
from slurmkit.site.generate.release import Release

if TYPE_CHECKING:
    from slurmkit.site.models import Site


def build(site: "Site", release: Release) -> Mapping[str, File]:
    """Return every file of a site, by its absolute path."""
    text = f"# {site.name}, for Slurm {release.major}\nClusterName={site.name}\n"
    return {"/etc/slurm/slurm.conf": File(text)}
