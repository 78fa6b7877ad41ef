"""A site's files as Slurm understands them: settings, nodes, partitions, GRES lines, switches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from slurmkit.errors import Location
from slurmkit.hostlist import HostlistError, expand
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import words
from slurmkit.sitecheck.candidate import Candidate, File
from slurmkit.sitecheck.syntax import Line, Pair, read_lines

_MAX_INCLUDES = 16


@dataclass(frozen=True)
class MissingInclude:
    """An Include whose file the site does not have."""

    name: str
    where: Location


@dataclass(frozen=True)
class Conf:
    """One of Slurm's files with what it includes.

    Attributes:
        name: such as ``gres.conf``.
        path: on a machine.
        shown: how messages name it.
        lines: what it says, in Slurm's order.
        missing: Includes that lead nowhere.
    """

    name: str
    path: str
    shown: str
    lines: tuple[Line, ...]
    missing: tuple[MissingInclude, ...] = ()

    @cached_property
    def settings(self) -> dict[str, list[Pair]]:
        """What has a line of its own, by keyword in small letters."""
        starters = words.line_starters(self.name)
        found: dict[str, list[Pair]] = {}
        for line in self.lines:
            if line.pairs and line.pairs[0].name not in starters:
                found.setdefault(line.pairs[0].name, []).append(line.pairs[0])
        return found

    def starting(self, *starters: str) -> Iterator[Line]:
        """Yield the lines that start with one of these words."""
        wanted = {starter.lower() for starter in starters}
        return (line for line in self.lines if line.pairs and line.pairs[0].name in wanted)

    def pair(self, name: str) -> Pair | None:
        """Return a setting; the last one where it stands twice, as Slurm does."""
        found = self.settings.get(name.lower())
        return found[-1] if found else None

    def value(self, name: str, default: str = "") -> str:
        """Return what a setting says."""
        pair = self.pair(name)
        return pair.value if pair else default

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return a setting as a number; the default where it is none."""
        pair = self.pair(name)
        return number(pair.value, default) if pair else default

    def yes(self, name: str, default: bool = False) -> bool:
        """Return a setting that is yes or no."""
        return self.value(name, "yes" if default else "no").lower() in (
            "yes",
            "true",
            "1",
            "y",
            "up",
        )

    def words(self, name: str) -> list[tuple[str, Location]]:
        """Return the words of a list with commas, each with its place."""
        pair = self.pair(name)
        return words_of(pair) if pair else []

    def has(self, name: str, word: str) -> bool:
        """Return whether a list has a word, or a word with that name and a value."""
        wanted = word.lower()
        return any(w.lower().partition("=")[0] == wanted for w, _ in self.words(name))


@dataclass(frozen=True)
class Entity:
    """A NodeName, PartitionName or other line, with what DEFAULT lines before it say.

    Attributes:
        name: the pair that starts it.
        values: by keyword in small letters.
        names: what the name stands for, expanded; empty where it is no host list.
        own: what the line itself says.
    """

    name: Pair
    values: Mapping[str, Pair]
    names: tuple[str, ...] = ()
    own: Mapping[str, Pair] = field(default_factory=dict)

    def value(self, name: str, default: str = "") -> str:
        """Return what it says."""
        pair = self.values.get(name.lower())
        return pair.value if pair else default

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return a value as a number; the default where it is none."""
        pair = self.values.get(name.lower())
        return number(pair.value, default) if pair else default

    def pair(self, *names: str) -> Pair:
        """Return the first pair of these that it has, else the one that starts it."""
        return next((self.values[n.lower()] for n in names if n.lower() in self.values), self.name)

    @property
    def cores(self) -> int:
        """Cores of a node line, as Slurm counts them."""
        return self.cpus if self.sockets is None else self.sockets * self.cores_per_socket

    @property
    def sockets(self) -> int | None:
        """Sockets of a node line; None where it says nothing of sockets and cores."""
        if boards := self.number("SocketsPerBoard"):
            return boards * (self.number("Boards", 1) or 1)
        said = self.number("Sockets")
        return said if said is not None else (1 if self.number("CoresPerSocket") else None)

    @property
    def cores_per_socket(self) -> int:
        """Cores in each socket of a node line."""
        return self.number("CoresPerSocket", 1) or 1

    @property
    def threads(self) -> int:
        """Threads of each core of a node line."""
        return self.number("ThreadsPerCore", 1) or 1

    @property
    def cpus(self) -> int:
        """CPUs of a node line: as it says, or as its sockets, cores and threads make."""
        said = self.number("CPUs", self.number("Procs"))
        if said is not None:
            return said
        return self.cores_product

    @property
    def cores_product(self) -> int:
        """Sockets times cores times threads."""
        return (self.sockets or 1) * self.cores_per_socket * self.threads


@dataclass(frozen=True)
class Cluster:
    """All files of a candidate for one release."""

    candidate: Candidate
    release: Release
    confs: Mapping[str, Conf]

    @property
    def slurm(self) -> Conf:
        """slurm.conf."""
        return self.confs["slurm.conf"]

    def conf(self, name: str) -> Conf | None:
        """Return one of Slurm's files; None where the site has none."""
        return self.confs.get(name)

    @cached_property
    def nodes(self) -> list[Entity]:
        """Every NodeName line but DEFAULT."""
        return list(entities(self.slurm, "NodeName"))

    @cached_property
    def by_node(self) -> dict[str, Entity]:
        """Nodes by name; the last line where there are two."""
        return {name: line for line in self.nodes for name in line.names}

    @cached_property
    def nodesets(self) -> dict[str, Entity]:
        """NodeSet lines by name."""
        return {entity.name.value: entity for entity in entities(self.slurm, "NodeSet")}

    @cached_property
    def partitions(self) -> list[Entity]:
        """Every PartitionName line but DEFAULT."""
        return list(entities(self.slurm, "PartitionName"))

    def members(self, text: str) -> list[str]:
        """Return the node names of a Nodes= value: host lists, node sets and ALL."""
        found: list[str] = []
        for word in split_hosts(text):
            if word.upper() == "ALL":
                found += self.by_node
            elif word in self.nodesets:
                found += self._set_members(self.nodesets[word])
            else:
                found += hosts(word)
        return found

    def _set_members(self, entity: Entity) -> list[str]:
        feature = entity.value("Feature")
        chosen = hosts(entity.value("Nodes"))
        for name, line in self.by_node.items():
            features = line.value("Feature", line.value("Features")).split(",")
            if feature and feature in features:
                chosen.append(name)
        return chosen

    def pairs(self) -> Iterator[tuple[Conf, str, Pair]]:
        """Yield every pair that Slurm reads: its file, the word that starts its line, and itself.

        That word is empty for a setting; of what follows one on its line Slurm reads nothing.
        """
        for conf in self.confs.values():
            starters = words.line_starters(conf.name)
            for line in conf.lines:
                for index, pair in enumerate(line.pairs):
                    if index == 0:
                        yield conf, "", pair
                    elif line.pairs[0].name in starters:
                        yield conf, line.pairs[0].name, pair

    def file_at(self, path: str) -> File | None:
        """Return a file of the candidate by its path on a machine."""
        return self.candidate.files.get(path)

    @property
    def start(self) -> Location:
        """The first line of slurm.conf, for what is missing in it."""
        return Location(self.slurm.shown, 1, 1)


def read_cluster(candidate: Candidate, release: Release) -> Cluster | None:
    """Return a candidate's files as Slurm reads them; None where there is no slurm.conf."""
    confs = {}
    for name in words.files():
        found = candidate.conf(name)
        if found is not None:
            confs[name] = read_conf(candidate, name, *found)
    return Cluster(candidate, release, confs) if "slurm.conf" in confs else None


def read_conf(candidate: Candidate, name: str, path: str, file: File) -> Conf:
    """Return one file with its Includes in place."""
    missing: list[MissingInclude] = []
    lines = tuple(_lines(candidate, file, missing, 0))
    return Conf(name, path, file.shown, lines, tuple(missing))


def _lines(
    candidate: Candidate, file: File, missing: list[MissingInclude], depth: int
) -> Iterator[Line]:
    for line in read_lines(file.text, file.shown):
        yield line
        if not line.include:
            continue
        name = line.include
        target = name if name.startswith("/") else f"{PurePosixPath(candidate.etc)}/{name}"
        included = candidate.files.get(target)
        if included is None or depth >= _MAX_INCLUDES:
            missing.append(MissingInclude(name, line.where))
        else:
            yield from _lines(candidate, included, missing, depth + 1)


def entities(conf: Conf, starter: str) -> Iterator[Entity]:
    """Yield the lines of one kind, joined with the DEFAULT lines before them."""
    defaults: dict[str, Pair] = {}
    for line in conf.starting(starter):
        first, own = line.pairs[0], {pair.name: pair for pair in line.pairs[1:]}
        if first.value.upper() == "DEFAULT":
            defaults = {**defaults, **own}
            continue
        yield Entity(first, {**defaults, **own}, tuple(hosts(first.value)), own)


def hosts(text: str) -> list[str]:
    """Return the names of a host list; none where it is broken, which a rule of its own says."""
    try:
        return expand(text)
    except HostlistError:
        return []


def split_hosts(text: str) -> list[str]:
    """Return the words of a host list, split at commas outside of brackets."""
    found, depth, word = [], 0, ""
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            found.append(word)
            word = ""
        else:
            word += character
    return [word for word in [*found, word] if word]


def words_of(pair: Pair) -> list[tuple[str, Location]]:
    """Return the words of a value that is a list with commas, each with its place."""
    found, column = [], pair.value_where.column
    for word in pair.value.split(","):
        lead = len(word) - len(word.lstrip())
        if word.strip():
            place = pair.value_where.replace(column=column + lead)
            found.append((word.strip(), place))
        column += len(word) + 1
    return found


def number(text: str, default: int | None = None) -> int | None:
    """Return a text as a whole number; the default where it is none."""
    return int(text) if text.isascii() and text.isdigit() else default
