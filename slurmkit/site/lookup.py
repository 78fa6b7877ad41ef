"""Finds site.yaml and reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slurmkit.errors import InvalidInputError, Location, Problem
from slurmkit.site.models import Site
from slurmkit.site.rules import broken_rules
from slurmkit.yamlfile import nodes
from slurmkit.yamlfile.nodes import SourceMap
from slurmkit.yamlfile.reader import read_bytes, read_document
from slurmkit.yamlfile.validate import build

Environ = Mapping[str, str]

FILE_NAME = "site.yaml"
SYSTEM_PATH = Path("/etc/slurmkit") / FILE_NAME


@dataclass(frozen=True)
class FoundSite:
    """A site and where it came from.

    Attributes:
        site: what the cluster is.
        path: its file, absolute; None when none was found and everything is a default.
        origin: what named the file: ``--site``, ``$SLURMKIT_SITE``, ``user`` or ``system``;
            ``cluster`` when the live cluster was asked, ``defaults`` when nobody was.
        source: places of keys and values in the file.
    """

    site: Site
    path: Path | None = None
    origin: str = "defaults"
    source: SourceMap = field(default_factory=SourceMap)

    @property
    def folder(self) -> Path | None:
        """The folder of the file, where the site's templates lie."""
        return self.path.parent if self.path else None


def find_site(explicit: str | None = None, environ: Environ = os.environ) -> FoundSite:
    """Return the site that holds here.

    Looked at in order: ``explicit`` (``--site``), ``$SLURMKIT_SITE``,
    ``$XDG_CONFIG_HOME/slurmkit/site.yaml`` (``~/.config`` by default) and
    ``/etc/slurmkit/site.yaml``. The first two may name a file or its folder and must exist.

    Raises:
        InvalidInputError: the file is wrong, with every problem; or a named one does not exist.
    """
    for named, origin in ((explicit, "--site"), (environ.get("SLURMKIT_SITE"), "$SLURMKIT_SITE")):
        if named:
            return read_site(_named(named, origin), origin)
    for path, origin in ((user_path(environ), "user"), (SYSTEM_PATH, "system")):
        # os.path: a folder that may not be entered holds no site.yaml for this user.
        if path is not None and os.path.isfile(path):  # noqa: PTH113
            return read_site(path, origin)
    return FoundSite(build(Site, nodes.Mapping({}, Location("", 0, 0))))


def user_path(environ: Environ = os.environ) -> Path | None:
    """Return where a user's own site.yaml lies; None for a user without a home."""
    config = environ.get("XDG_CONFIG_HOME", "")
    # The XDG base directory specification: a relative path is invalid and is ignored.
    if not os.path.isabs(config):  # noqa: PTH117 - a text, not yet a path
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where this does not
        if not home.startswith("/"):
            return None
        config = f"{home}/.config"
    return Path(config) / "slurmkit" / FILE_NAME


def read_site(path: Path, origin: str = "--site") -> FoundSite:
    """Return the site of one file.

    Raises:
        InvalidInputError: the file cannot be read or is wrong, with every problem.
    """
    try:
        data = read_bytes(str(path))
    except OSError as error:
        raise _unreadable(f"{path} ({origin}) cannot be read: {error.strerror}") from None
    root = read_document(data, str(path))
    site, source = build(Site, root), SourceMap(root)
    if problems := broken_rules(site, source):
        raise InvalidInputError(problems)
    return FoundSite(site, path.absolute(), origin, source)


def _named(text: str, origin: str) -> Path:
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - ~nobody stays as it is
    if os.path.isdir(path):  # noqa: PTH112
        path /= FILE_NAME
    if not os.path.exists(path):  # noqa: PTH110
        raise _unreadable(f"there is no file {path}, which {origin} names")
    return path


def _unreadable(message: str) -> InvalidInputError:
    hint = f"Name a {FILE_NAME} or the folder it lies in."
    return InvalidInputError([Problem(message, hint=hint, code="no-file")])
