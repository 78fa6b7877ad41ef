"""Joins the parts of a site into its files."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slurmkit.site.generate.checked import check
from slurmkit.site.generate.files import File
from slurmkit.site.generate.host_files import host_files, script_files
from slurmkit.site.generate.policy import policy_files
from slurmkit.site.generate.release import Release
from slurmkit.site.generate.shape import shapes
from slurmkit.site.generate.slurm_conf import slurm_files

if TYPE_CHECKING:
    from slurmkit.site.models import Site


def build(site: "Site", release: Release) -> Mapping[str, File]:
    """Return every file of a site, by its absolute path, in order of the paths."""
    kinds = shapes(site)
    files = {
        **slurm_files(site, release, kinds),
        **script_files(site, release),
        **policy_files(site, release, kinds),
        **host_files(site, release, kinds),
    }
    check(files, release)
    return dict(sorted(files.items()))
