"""What is checked: the files of a site as values, read from a site folder or a folder of .conf."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from slurmkit.errors import InvalidInputError, Location, Problem, UsageError
from slurmkit.site.deploy.folder import FILES, RULES, Rules, files_of, read_rules, without_files
from slurmkit.site.folders import shipped_sites
from slurmkit.site.lookup import FILE_NAME, read_site
from slurmkit.site.models import Site
from slurmkit.yamlfile.nodes import SourceMap

#: Where Slurm's files lie on Debian and in SchedMD's packages, unless slurm.conf is elsewhere.
ETC = "/etc/slurm"
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class File:
    """One file of a candidate.

    Attributes:
        content: its bytes.
        shown: how messages name it: the path that a person can open.
        mode: permissions that an install would give it.
        owner: and its owner, by name.
    """

    content: bytes
    shown: str
    mode: int = 0o644
    owner: str = "root"

    @property
    def text(self) -> str:
        """Its content as text; what is no UTF-8 is shown by a mark."""
        return self.content.decode(errors="replace")


@dataclass(frozen=True)
class Candidate:
    """A site that might be installed.

    Attributes:
        files: by absolute path on a machine.
        rules: what install.yaml says; empty for a folder of .conf files.
        site: site.yaml; None where there is none, or a broken one.
        problems: what is wrong with install.yaml and site.yaml already.
        name: of its folder.
        is_site: whether it is a site folder, whose every file is known.
        rules_shown: how messages name install.yaml.
        site_source: places in site.yaml.
        rules_source: places in install.yaml.
    """

    files: Mapping[str, File]
    rules: Rules = field(default_factory=Rules)
    site: Site | None = None
    problems: tuple[Problem, ...] = ()
    name: str = "site"
    is_site: bool = False
    rules_shown: str = RULES
    site_source: SourceMap = field(default_factory=SourceMap)
    rules_source: SourceMap = field(default_factory=SourceMap)

    @classmethod
    def of(cls, files: Mapping[str, str]) -> "Candidate":
        """Return a candidate of texts by path; a name without a folder lies in /etc/slurm."""
        return cls(
            {
                path if path.startswith("/") else f"{ETC}/{path}": File(text.encode(), path)
                for path, text in files.items()
            }
        )

    @property
    def etc(self) -> str:
        """The folder with slurm.conf."""
        found = [path for path in self.files if PurePosixPath(path).name == "slurm.conf"]
        return str(PurePosixPath(min(found, key=len)).parent) if found else ETC

    def rule_place(self, section: str, path: str) -> Location:
        """Return the place in install.yaml of what it says of a file; its start for nothing."""
        location, _, _ = self.rules_source.find((section, path))
        return location or Location(self.rules_shown, 1, 1)

    def conf(self, name: str) -> tuple[str, File] | None:
        """Return path and file of one of Slurm's own files, such as ``gres.conf``."""
        path = f"{self.etc}/{name}"
        return (path, self.files[path]) if path in self.files else None


def read_candidate(folder: Path) -> Candidate:
    """Return the candidate of a site folder, or of a folder of .conf files.

    Raises:
        UsageError: it is neither, or holds what is no plain file.
    """
    if folder.is_file() and folder.name == FILE_NAME:
        folder = folder.parent
    if (folder / FILES).is_dir():
        return _read_site_folder(folder)
    if (folder / FILE_NAME).is_file():
        raise without_files(folder)
    if folder.is_file() and folder.name == "slurm.conf":
        folder = folder.parent
    confs = sorted([*folder.glob("*.conf"), *folder.glob("*.yaml")]) if folder.is_dir() else []
    if not any(path.name == "slurm.conf" for path in confs):
        raise UsageError(
            f"{folder} is neither a site folder nor a folder with a slurm.conf",
            hint=f"a site folder has {FILES}{ETC}/slurm.conf; shipped sites are"
            f" {', '.join(shipped_sites())}",
        )
    files = {
        f"{ETC}/{path.relative_to(folder)}": _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MAX_BYTES
    }
    return Candidate(files, name=folder.resolve().name)


def _read(path: Path) -> File:
    mode = stat.S_IMODE(path.stat().st_mode)
    return File(path.read_bytes(), str(path), mode)


def _read_site_folder(folder: Path) -> Candidate:
    problems: list[Problem] = []
    rules, site, site_source, rules_source = Rules(), None, SourceMap(), SourceMap()
    try:
        rules, rules_source = read_rules(folder / RULES)
    except InvalidInputError as error:
        problems += error.problems
    if (folder / FILE_NAME).is_file():
        try:
            found = read_site(folder / FILE_NAME, "the site folder")
            site, site_source = found.site, found.source
        except InvalidInputError as error:
            problems += error.problems
    files = {
        target: File(path.read_bytes(), str(path), int(permission.mode, 8), permission.owner)
        for target, path, permission in files_of(folder, rules)
    }
    return Candidate(
        files,
        rules,
        site,
        tuple(problems),
        folder.resolve().name,
        is_site=True,
        rules_shown=str(folder / RULES),
        site_source=site_source,
        rules_source=rules_source,
    )
