"""The tree of a YAML file: every key and value with its place, found by its dotted key."""

import re
from collections.abc import Iterable
from typing import NamedTuple, Union

from slurmkit.errors import Location, Problem

Path = tuple[str | int, ...]

# YAML 1.2's core schema, less what surprises people: no yes/no/on/off, no 1:30 as a number of
# seconds, and a leading zero makes a text, since 010 is eight to some readers and ten to others.
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(
    r"[-+]?(?:(?:\.[0-9]+|(?:0|[1-9][0-9]*)\.[0-9]*)(?:[eE][-+]?[0-9]+)?"
    r"|(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+)"
)
_NAN_INF = re.compile(r"\.(?:nan|NaN|NAN)|[-+]?\.(?:inf|Inf|INF)")


class Scalar(NamedTuple):
    """One value; ``plain`` tells that it was written without quotes."""

    text: str
    plain: bool
    where: Location

    @property
    def is_null(self) -> bool:
        """Whether it stands for no value at all."""
        return self.plain and self.text in _NULL

    def value(self) -> str | int | float | bool | None:
        """Return what the text means by YAML 1.2's core schema."""
        text = self.text
        if not self.plain:
            return text
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _NAN_INF.fullmatch(text):
            return float(text.replace(".", ""))
        return text


class Sequence(NamedTuple):
    """A list; ``flow`` tells that it was written in brackets."""

    items: tuple["Node", ...]
    where: Location
    flow: bool = True


class Entry(NamedTuple):
    """One key of a mapping with its value."""

    key: Scalar
    value: "Node"


class Mapping(NamedTuple):
    """Keys and values in the order they were written."""

    entries: dict[str, Entry]
    where: Location
    flow: bool = True


Node = Union[Scalar, Sequence, Mapping]  # noqa: UP007 - the names are strings until here


def place_of(entry: Entry) -> Location:
    """Return where a person would look: at the value, or at the key of an indented block."""
    value = entry.value
    if isinstance(value, Scalar):
        # An absent value has no place of its own.
        return value.where if value.text or not value.plain else entry.key.where
    return value.where if value.flow else entry.key.where


def merge(base: Node, over: Node) -> Node:
    """Return ``base`` with ``over`` put over it; only mappings merge, all else replaces."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    entries = dict(base.entries)
    for name, entry in over.entries.items():
        if name in entries:
            entry = Entry(entry.key, merge(entries[name].value, entry.value))  # noqa: PLW2901
        entries[name] = entry
    return Mapping(entries, over.where, over.flow)


def by_place(problem: Problem) -> tuple[str, int, int]:
    """Return a sort key: the order in which a person reads the files."""
    where = problem.where or Location("", 0, 0)
    return (where.file, where.line, where.column)


def dotted(path: Iterable[str | int]) -> str:
    """Return ``launch.command.2`` for ``("launch", "command", 2)``."""
    return ".".join(str(part) for part in path)


class SourceMap:
    """Finds the place in the files for the key of a value.

    Args:
        root: the tree that was read; None for a value that no file gave.
    """

    def __init__(self, root: Mapping | None = None) -> None:
        self.root = root

    def locate(self, key: str) -> Location | None:
        """Return the place of the value at a dotted key.

        List items are named by their number (``launch.command.2``). Where the key itself is
        absent, its nearest parent that is there is meant; None when no file gave the value.
        """
        return self.find(tuple(key.split(".")) if key else ())[0]

    def locate_key(self, key: str) -> Location | None:
        """Return the place of the key itself, where ``locate`` gives that of its value."""
        path = tuple(key.split("."))
        parent = self.node(path[:-1])
        if isinstance(parent, Mapping) and path[-1] in parent.entries:
            return parent.entries[path[-1]].key.where
        return self.locate(key)

    def node(self, path: Path) -> Node | None:
        """Return the node at exactly this path."""
        _, node, found = self.find(path)
        return node if len(found) == len(path) else None

    def find(self, path: Path) -> tuple[Location | None, Node | None, Path]:
        """Follow a path as far as the files go.

        Parts that are not there are left out, so that ``sweep.matrix.lr`` finds the short form
        ``sweep.lr``.

        Returns:
            Place and node of the deepest part found, and the parts that were found.
        """
        if self.root is None:
            return None, None, ()
        node: Node = self.root
        where = node.where
        found: list[str | int] = []
        for part in path:
            if isinstance(node, Mapping) and str(part) in node.entries:
                entry = node.entries[str(part)]
                node, where = entry.value, place_of(entry)
            elif isinstance(node, Sequence) and _is_index(part, len(node.items)):
                node = node.items[int(part)]
                where = node.where
            else:
                continue
            found.append(part)
        return where, node, tuple(found)


def _is_index(part: str | int, length: int) -> bool:
    return str(part).isdecimal() and int(part) < length
