"""Read a site folder: the files it installs, who owns them, and the secrets that must be in place.

SITE/files/etc/slurm/slurm.conf      goes to /etc/slurm/slurm.conf
SITE/site.yaml                       goes to /etc/slurmkit/site.yaml
SITE/install.yaml                    owners and modes that a checkout cannot keep, and secrets
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.site.deploy.plan import FileState
from slurmkit.site.deploy.store import digest_of
from slurmkit.site.lookup import FILE_NAME, SYSTEM_PATH, read_site
from slurmkit.yamlfile.nodes import SourceMap
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.types import Line, Section
from slurmkit.yamlfile.validate import build

FILES, RULES = "files", "install.yaml"


class Permission(Section):
    """Mode and owner of one file."""

    mode: Line = Field("0644", pattern="^0?[0-7]{3}$", description="Permissions, in octal digits.")
    owner: Line = Field("root", description="User, by the names of the machine or image.")
    group: Line | None = Field(None, description="Group; left out, the owner's own.")


class Rules(Section):
    """What install.yaml says."""

    permissions: dict[str, Permission] = Field(
        default={}, description="Files whose mode or owner is not 0644 or 0755 and root."
    )
    secrets: dict[str, Permission] = Field(
        default={}, description="Files that must be there already, and that are never read."
    )


@dataclass(frozen=True)
class Wanted:
    """One file of a site: its content, and mode and owner by name."""

    content: bytes
    permission: Permission


@dataclass(frozen=True)
class SiteFolder:
    """A site folder as read.

    Attributes:
        name: the folder's name.
        files: by absolute path on the machine.
        secrets: mode and owner by path.
    """

    name: str
    files: dict[str, Wanted]
    secrets: dict[str, Permission]


def read_folder(folder: Path) -> SiteFolder:
    """Return what a site folder installs.

    Raises:
        UsageError: it has no files, or one that is no plain file.
        InvalidInputError: install.yaml or site.yaml is wrong.
    """
    if not (folder / FILES).is_dir():
        raise without_files(folder)
    rules, _ = read_rules(folder / RULES)
    if (folder / FILE_NAME).is_file():
        read_site(folder / FILE_NAME, "the site folder")
    files = {
        target: Wanted(path.read_bytes(), permission)
        for target, path, permission in files_of(folder, rules)
    }
    for key, names in (("permissions", rules.permissions), ("secrets", rules.secrets)):
        for target in names:
            if key == "permissions" and target not in files:
                raise UsageError(f"{folder / RULES}: {key}.{target}: the site has no such file")
            if key == "secrets" and target in files:
                raise UsageError(f"{folder / RULES}: {target} is a secret, and must not be a file")
    return SiteFolder(folder.resolve().name, files, rules.secrets)


def without_files(folder: Path) -> UsageError:
    """Return the error about a folder that is no site folder, or none yet."""
    hint = f"what is to be /etc/slurm/slurm.conf lies in {FILES}/etc/slurm/slurm.conf"
    if (folder / FILE_NAME).is_file():
        hint = f"slurmkit site generate {folder} makes them from its {FILE_NAME}"
    return UsageError(f"{folder} is no site folder: it has no {FILES}/", hint=hint)


def files_of(folder: Path, rules: Rules) -> Iterator[tuple[str, Path, Permission]]:
    """Yield each file of a site folder: where it goes, where it lies, and its mode and owner.

    Raises:
        UsageError: one is no plain file.
    """
    if (folder / FILE_NAME).is_file():
        target = str(SYSTEM_PATH)
        yield target, folder / FILE_NAME, rules.permissions.get(target) or Permission()
    top = folder / FILES
    for path in sorted(top.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            raise UsageError(f"{path} is no plain file", hint="a site installs plain files alone")
        target = f"/{path.relative_to(top)}"
        mode = "0755" if path.stat().st_mode & stat.S_IXUSR else "0644"
        yield target, path, rules.permissions.get(target) or Permission(mode=mode)


def read_rules(path: Path) -> tuple[Rules, SourceMap]:
    """Return what an install.yaml says, and where; a missing one says nothing.

    Raises:
        InvalidInputError: it is wrong, with every problem.
    """
    if not path.is_file():
        return Rules(), SourceMap()
    document = read_document(path.read_bytes(), str(path))
    return build(Rules, document), SourceMap(document)


def states(site: SiteFolder, root: Path) -> dict[str, FileState]:
    """Return what each file would be on a machine or image, whose users own it.

    Raises:
        SlurmkitError: there is no such user or group.
    """
    ids = _Ids(root)
    found = {}
    for path, wanted in site.files.items():
        uid, gid = ids.of(path, wanted.permission)
        mode = int(wanted.permission.mode, 8)
        found[path] = FileState(digest_of(wanted.content), mode, uid, gid)
    return found


def secret_problems(site: SiteFolder, root: Path) -> list[str]:
    """Return what is wrong with the secrets, one sentence each; nothing of them is read."""
    problems = []
    ids = _Ids(root)
    for path, permission in site.secrets.items():
        try:
            status = (root / path.lstrip("/")).lstat()
        except FileNotFoundError:
            problems.append(f"{path} is missing; make it before Slurm starts")
            continue
        uid, _ = ids.of(path, permission)
        if status.st_uid != uid:
            problems.append(f"{path} belongs to uid {status.st_uid}, not to {permission.owner}")
        mode = stat.S_IMODE(status.st_mode)
        if mode & ~int(permission.mode, 8):
            problems.append(f"{path} has mode {mode:04o}; it may have {permission.mode} at most")
    return problems


class _Ids:
    """Users and groups of a root, which may be an image with its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._users = _table(root / "etc/passwd")
        self._groups = _table(root / "etc/group")

    def of(self, path: str, permission: Permission) -> tuple[int, int]:
        """Return the ids of a file's owner and group."""
        if permission.owner == "root" and permission.group in (None, "root"):
            # An ordinary user who fills an image or tries a site owns what he writes.
            return (0, 0) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        user = self._users.get(permission.owner)
        if user is None:
            raise self._missing(path, "user", permission.owner)
        if permission.group is None:
            return int(user[2]), int(user[3])
        group = self._groups.get(permission.group)
        if group is None:
            raise self._missing(path, "group", permission.group)
        return int(user[2]), int(group[2])

    def _missing(self, path: str, kind: str, name: str) -> SlurmkitError:
        table = self._root / "etc" / ("passwd" if kind == "user" else "group")
        return SlurmkitError(
            f"{path}: there is no {kind} {name} in {table}",
            hint=f"Slurm's packages make its users: install them first, or name another {kind}"
            f" in {RULES}",
        )


def _table(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        return {}
    rows = [line.split(":") for line in path.read_text(errors="replace").splitlines()]
    return {row[0]: row for row in rows if len(row) >= 3}
