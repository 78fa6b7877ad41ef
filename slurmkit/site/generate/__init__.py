"""From site.yaml and a release of Slurm to every file of a site.

`release` says what a release is, `files` what a generated file is; `build` joins what the other
modules know. Generation is pure: the same site and release give the same bytes on every machine.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slurmkit.site.generate.files import File
from slurmkit.site.generate.release import SUPPORTED, Release

if TYPE_CHECKING:
    from slurmkit.site.models import Site

__all__ = ["SUPPORTED", "File", "Release", "generate"]


def generate(site: "Site", release: Release) -> Mapping[str, File]:
    """Return every file of a site, by its absolute path on a machine of the cluster.

    Args:
        site: what the cluster is.
        release: the Slurm that it runs; what this one does not know is not written.

    Raises:
        UsageError: the site does not say what a file needs, such as the names of its nodes.
    """
    # Sections of site.yaml import Release from here, and what builds files imports the sections.
    from slurmkit.site.generate.build import build  # noqa: PLC0415

    return build(site, release)
