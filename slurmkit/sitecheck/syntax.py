"""Slurm's configuration syntax, as its own parser reads it, with line and column of every word.

What parse_config.c does, measured and read at 22.05 and 26.05: ``#`` starts a comment wherever it
stands, in quotes, too, unless an odd number of backslashes comes before it; an odd number of them
at the end of a line joins it with the next; after that each backslash goes, the character after it
stays. ``Include`` is one only in the first column. A value is a text in double quotes or a word
without white space; ``Key += value`` and the like are read as well.
"""

import re
from dataclasses import dataclass

from slurmkit.errors import Location

_PAIR = re.compile(
    r'\s*(?P<key>[A-Za-z0-9_.]+)\s*(?P<sign>[-*+/]?)=\s*(?:"(?P<quoted>[^"]*)"|(?P<word>\S+))(?=\s|$)'
)
_INCLUDE = re.compile(r"include\s+(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A keyword and its value.

    Attributes:
        key: as it is written.
        value: without quotes.
        where: the place of the key.
        value_where: the place of the value, inside its quotes.
        sign: what stands before ``=``: empty, or one of ``+-*/``.
    """

    key: str
    value: str
    where: Location
    value_where: Location
    sign: str = ""

    @property
    def name(self) -> str:
        """The key in small letters; Slurm's parser does not tell them apart."""
        return self.key.lower()


@dataclass(frozen=True)
class Line:
    """A line of a file, continuations joined.

    Attributes:
        where: its first character that is no white space.
        pairs: what it sets, from left to right.
        rest: what could not be read as pairs; empty for nothing.
        rest_where: the place of that.
        include: the file that it names; empty for other lines.
        comment_in_quotes: the place of a ``#`` that cuts a quoted text, or None.
    """

    where: Location
    pairs: tuple[Pair, ...] = ()
    rest: str = ""
    rest_where: Location | None = None
    include: str = ""
    comment_in_quotes: Location | None = None


@dataclass
class _Text:
    """A logical line as it grows: its characters, and where each of them stands."""

    characters: list[str]
    places: list[tuple[int, int]]

    def place(self, index: int, file: str) -> Location:
        if not self.places:
            return Location(file, 1, 1)
        if index < len(self.places):
            line, column = self.places[index]
        else:
            line, column = self.places[-1]
            column += 1
        return Location(file, line, column)


def read_lines(text: str, file: str) -> list[Line]:
    """Return what a file says, line by line; empty lines and comments are left out.

    Args:
        text: the file's content.
        file: how places name it.
    """
    found = []
    logical = _Text([], [])
    cut: Location | None = None
    for number, physical in enumerate(text.split("\n"), start=1):
        body, comment = _without_comment(physical)
        if comment is not None and physical[:comment].count('"') % 2 == 1:
            cut = Location(file, number, comment + 1)
        body, goes_on = _continued(body)
        _append(logical, body, number)
        if goes_on:
            continue
        found += _line(logical, file, cut)
        logical, cut = _Text([], []), None
    return found + _line(logical, file, cut)


def _without_comment(line: str) -> tuple[str, int | None]:
    """Return a line without its comment, and where that starts."""
    backslashes = 0
    for index, character in enumerate(line):
        if character == "#" and backslashes % 2 == 0:
            return line[:index], index
        backslashes = backslashes + 1 if character == "\\" else 0
    return line, None


def _continued(line: str) -> tuple[str, bool]:
    """Return a line without the backslash that joins it with the next, and whether it had one."""
    bare = line.rstrip()
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return (bare[:-1], True) if backslashes % 2 == 1 else (line, False)


def _append(logical: _Text, body: str, number: int) -> None:
    skip = False
    for index, character in enumerate(body):
        if character == "\\" and not skip:
            skip = True
            continue
        skip = False
        logical.characters.append(character)
        logical.places.append((number, index + 1))


def _line(logical: _Text, file: str, cut: Location | None) -> list[Line]:
    text = "".join(logical.characters)
    if not text.strip():
        return []
    start = len(text) - len(text.lstrip())
    where = logical.place(start, file)
    if include := _INCLUDE.match(text):
        rest = text[include.end() :].strip()
        at = logical.place(include.end(), file) if rest else None
        return [Line(where, rest=rest, rest_where=at, include=include[1])]
    pairs, end = [], 0
    while found := _PAIR.match(text, end):
        group = "quoted" if found["quoted"] is not None else "word"
        pairs.append(
            Pair(
                found["key"],
                found[group],
                logical.place(found.start("key"), file),
                logical.place(found.start(group), file),
                found["sign"],
            )
        )
        end = found.end()
    rest = text[end:].strip()
    at = logical.place(end + len(text[end:]) - len(text[end:].lstrip()), file) if rest else None
    return [Line(where, tuple(pairs), rest, at, comment_in_quotes=cut)]
