"""What `slurmkit site generate` does, for programs: read a site, generate, write or compare."""

from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.site import folders
from slurmkit.site.folders import Difference
from slurmkit.site.generate import SUPPORTED
from slurmkit.site.generate import generate as generate_files
from slurmkit.site.lookup import FILE_NAME, read_site

_WRITTEN = {
    "missing": "wrote",
    "outdated": "wrote",
    "edited": "overwrote",
    "stale": "removed",
}


@dataclass(frozen=True)
class Generation:
    """What one call did.

    Attributes:
        folder: the site folder.
        slurm_version: the release that the files are for.
        written: whether files were written; else they were compared.
        files: how many there are.
        differences: what was not as it should be.
    """

    folder: Path
    slurm_version: str
    written: bool
    files: int
    differences: list[Difference]

    def word(self, item: Difference) -> str:
        """Return what to say of a difference: what was done, or what it is."""
        return _WRITTEN[item.kind] if self.written else item.kind

    @property
    def summary(self) -> str:
        """One line about the whole."""
        what = f"{self.files} files of {self.folder} for Slurm {self.slurm_version}"
        if not self.differences:
            return f"{what}: up to date"
        return f"{what}: {len(self.differences)} {'changed' if self.written else 'differ'}"


def run(
    site: str,
    *,
    version: str | None = None,
    output: Path | None = None,
    check: bool = False,
    force: bool = False,
) -> Generation:
    """Generate a site's files and write them, or compare them with what is there.

    Args:
        site: site folder, or name of a shipped site.
        version: release to write for; None for the one that site.yaml names.
        output: make a new site folder there, with a copy of what people edit.
        check: write nothing.
        force: overwrite what was edited by hand.

    Raises:
        UsageError: there is no such site, its release is none of those that are known, or files
            were edited by hand.
        InvalidInputError: site.yaml is wrong.
    """
    folder = folders.find_folder(site)
    if output is not None:
        if check:
            raise UsageError("--check writes nothing, so there is nothing for --output to hold")
        folders.copy_site(folder, output)
        folder = output
    elif not check and folder not in (Path(site), Path(site).parent):  # found by its name
        raise UsageError(
            f"{site} is a shipped site, which slurmkit's next update brings anew",
            hint=f"slurmkit site generate {site} --output mysite makes it yours.",
        )
    described = read_site(folder / FILE_NAME, "the site folder").site
    release = folders.release_of(described.slurm.version, version)
    if not release.at_least(SUPPORTED[0]):
        raise UsageError(
            f"Slurm {release} is older than {SUPPORTED[0]}, the oldest that files are made for"
        )
    files = generate_files(described, release)
    if check:
        found = folders.differences(folder, files)
    else:
        found = folders.write(folder, files, force=force)
        folders.write_rules(folder, files)
    return Generation(folder, str(release), not check, len(files), found)
