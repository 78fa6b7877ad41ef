"""Which keywords, types of values and plugins a release of Slurm knows; what was meant by others.

Which release knows a keyword of slurm.conf, gres.conf, cgroup.conf, topology.conf and slurmdbd.conf
is in `slurmkit.site.generate.versions`, the one table of it. types.tsv adds what type each value
has, and the keywords of the other files with their releases; plugins.tsv has the plugins that ship.
Both were read from the tables of options (`s_p_options_t`) and the folders of plugins in Slurm's
sources, at a late maintenance release of each of 22.05 to 26.05.
"""

import difflib
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slurmkit.site.generate import versions
from slurmkit.site.generate.release import Release

#: Files whose releases versions.py has.
_SHARED = ("slurm.conf", "gres.conf", "cgroup.conf", "topology.conf", "slurmdbd.conf")
#: Files that have the keywords of another one.
_SAME_AS = {"namespace.conf": "job_container.conf"}
#: Lines that may start with another word and then have the same keywords.
_ALSO = {
    ("gres.conf", "name"): "nodename",
    ("job_container.conf", "nodename"): "basepath",
    ("helpers.conf", "feature"): "nodename",
}


@dataclass(frozen=True)
class Keyword:
    """A keyword of a configuration file.

    Attributes:
        file: such as ``slurm.conf``.
        line: the keyword that starts the line it stands on, such as ``NodeName``; empty where it
            has a line of its own.
        name: as Slurm's manual spells it.
        kind: string, boolean, uint16, uint32, uint64, long, float, line or ignore.
        since: the first release that knows it; None for 22.05 or older.
        until: the first release that refuses it; None while none does.
        ignored: the first release that reads it and does nothing with it.
    """

    file: str
    line: str
    name: str
    kind: str
    since: Release | None = None
    until: Release | None = None
    ignored: Release | None = None

    def state(self, release: Release) -> versions.State:
        """Return what a release makes of it."""
        if not _within(self.since, self.until, release):
            return "unknown"
        return "ignored" if self.ignored and release >= self.ignored else "known"


@dataclass(frozen=True)
class Plugin:
    """A plugin that ships with Slurm, such as ``select/cons_tres``."""

    kind: str
    name: str
    since: Release | None
    until: Release | None

    def known(self, release: Release) -> bool:
        """Return whether a release has it; every release reads ``none`` as no plugin."""
        return self.name == "none" or _within(self.since, self.until, release)


def find(file: str, name: str, line: str = "") -> Keyword | None:
    """Return a keyword in whatever case it is written; None when no release knows it."""
    return table().get((_SAME_AS.get(file, file), line.lower(), name.lower()))


def names(file: str, release: Release, line: str = "") -> list[str]:
    """Return the keywords of a file, or of one kind of its lines, that a release takes."""
    place = (_SAME_AS.get(file, file), line.lower())
    return [
        keyword.name
        for (where, start, _), keyword in table().items()
        if (where, start) == place and keyword.state(release) != "unknown"
    ]


def files() -> frozenset[str]:
    """Return the names of the files whose keywords are known."""
    return frozenset(file for file, _, _ in table()) | frozenset(_SAME_AS)


@functools.cache
def line_starters(file: str) -> frozenset[str]:
    """Return the words, in small letters, that start a line with keywords of their own."""
    file = _SAME_AS.get(file, file)
    return frozenset(start for where, start, _ in table() if where == file and start)


def homes(file: str, name: str) -> list[str]:
    """Return where else a keyword belongs: other files, or lines of this one."""
    found = []
    for (where, start, word), keyword in table().items():
        if word == name.lower():
            place = f"{keyword.line} lines of {where}" if start else where
            if place not in found:
                found.append(place)
    return sorted(found, key=lambda place: file not in place)


def plugin(kind: str, name: str) -> Plugin | None:
    """Return a plugin of a kind such as ``select``; None when it ships with no release."""
    return _plugins().get((kind, name))


def plugins(kind: str, release: Release) -> list[str]:
    """Return the plugins of a kind that a release has."""
    return [p.name for p in _plugins().values() if p.kind == kind and p.known(release)]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that was meant, whatever its case; empty when none is near."""
    by_small = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_small, n=1, cutoff=0.75)
    return by_small[close[0]] if close else ""


def meant(word: str, known: Iterable[str]) -> str:
    """Return a question that names the known word that is near; empty when none is."""
    near = nearest(word, known)
    return f"Did you mean {near}?" if near else ""


@functools.cache
def table() -> dict[tuple[str, str, str], Keyword]:
    """Return every keyword by file, the word that starts its line and its own; small letters."""
    found = {}
    for file, line, name, kind, since, until in _rows("types.tsv"):
        keyword = Keyword(file, line, name, kind, _release(since), _release(until))
        if file in _SHARED:
            keyword = _dated(keyword)
        found[file, line.lower(), name.lower()] = keyword
    for (file, line, name), keyword in list(found.items()):
        if start := _ALSO.get((file, line)):
            found[file, start, name] = keyword
    return found


def _dated(keyword: Keyword) -> Keyword:
    """Return a keyword with its releases, from the one table of them."""
    place = keyword.line if keyword.file == "slurm.conf" and keyword.line else keyword.file
    known = versions.find(place, keyword.name)
    if known is None:
        return keyword
    dates = (known.since, known.gone, known.ignored)
    return Keyword(keyword.file, keyword.line, keyword.name, keyword.kind, *dates)


@functools.cache
def _plugins() -> dict[tuple[str, str], Plugin]:
    return {
        (kind, name): Plugin(kind, name, _release(since), _release(until))
        for kind, name, since, until in _rows("plugins.tsv")
    }


def _within(since: Release | None, until: Release | None, release: Release) -> bool:
    return (since is None or release >= since) and (until is None or release < until)


def _rows(name: str) -> Iterator[list[str]]:
    for row in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()[1:]:
        yield ["" if cell == "-" else cell for cell in row.split("\t")]


def _release(text: str) -> Release | None:
    return Release.parse(text) if text else None
