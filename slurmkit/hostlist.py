"""Slurm's short form of many host names: ``a[1-3,07],b2-ib[0-1]`` to names and back.

``expand`` gives what ``scontrol show hostnames`` prints and ``compress`` what ``scontrol show
hostlist`` prints (with ``sort=True``: ``hostlistsorted``), in the same order; checked against
Slurm 22.05, 24.11 and 26.05. Text that Slurm reads leniently (a missing bracket, ``[1-]``) is an
error here. Standard library only: ranks import it while they start.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from slurmkit.errors import UsageError

#: Slurm's own bound of one range (MAX_RANGE in its source), so that a typing error is no outage.
MAX_RANGE = 64 * 1024
#: Bound of one whole list; larger than any cluster, small enough to fail at once.
MAX_HOSTS = 1024 * 1024

_SEPARATORS = re.compile(r"[,\s]+")
_WORD = re.compile(r"(?:[^\[\],\s]+|\[[^\]]*\])+")
_BALANCED = re.compile(r"[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*")
_NO_NAME = re.compile(r"[\[\],\s]")
_DIGITS = "0123456789"
#: Longer numbers do not fit the 64 bits that Slurm gives them.
_MAX_DIGITS = 19


class HostlistError(UsageError, ValueError):
    """The text is no hostlist.

    Attributes:
        text: what was read.
        position: where in it the mistake is, counted from 0.
    """

    def __init__(self, message: str, text: str, position: int) -> None:
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        super().__init__(
            f"hostlist {shown!r}: {message} at character {position + 1}",
            hint="a hostlist looks like node[01-16,20],gpu3",
        )
        self.text = text
        self.position = position


def expand(text: str) -> list[str]:
    """Return the host names that a hostlist stands for, in Slurm's order, duplicates included.

    Args:
        text: names separated by commas or white space; brackets hold numbers and ranges, a range's
            width is that of its first number. Of several brackets the last one varies fastest,
            then the first, then the second, as in Slurm.

    Raises:
        HostlistError: a bracket is open, empty or nested, a range is no range, or it is absurdly
            long.
    """
    if "[" not in text and "]" not in text:
        return [name for name in _SEPARATORS.split(text) if name]
    if not _BALANCED.fullmatch(text):
        raise _bracket_error(text)
    hosts: list[str] = []
    for match in _WORD.finditer(text):
        _expand_word(match, hosts)
    return hosts


def _bracket_error(text: str) -> HostlistError:
    """Return what is wrong with the brackets of a text in which something is."""
    opened = -1
    for position, char in enumerate(text):
        if char == "[" and opened >= 0:
            return HostlistError("a bracket inside a bracket", text, position)
        if char == "[":
            opened = position
        elif char == "]" and opened < 0:
            return HostlistError("a bracket that was never opened", text, position)
        elif char == "]":
            opened = -1
    return HostlistError("a bracket that is never closed", text, max(opened, 0))


def _expand_word(word: re.Match[str], hosts: list[str]) -> None:
    """Append the names of one word with any number of brackets."""
    literals: list[str] = []
    groups: list[list[str]] = []
    count = 1
    text = word.string
    position, end = word.span()
    while (opened := text.find("[", position, end)) >= 0:
        closed = text.index("]", opened, end)
        literals.append(text[position:opened])
        groups.append(_numbers(text, opened + 1, closed))
        count *= len(groups[-1])
        if len(hosts) + count > MAX_HOSTS:
            raise HostlistError(f"more than {MAX_HOSTS} hosts", text, opened)
        position = closed + 1
    suffix = text[position:end]
    if not groups:
        hosts.append(suffix)
        return
    prefixes = [literals[0]]
    for numbers, literal in zip(groups[:-1], literals[1:], strict=True):
        prefixes = [f"{prefix}{number}{literal}" for number in numbers for prefix in prefixes]
    tails = [number + suffix for number in groups[-1]] if suffix else groups[-1]
    hosts += [prefix + tail for prefix in prefixes for tail in tails]


def _numbers(text: str, start: int, end: int) -> list[str]:
    """Return the numbers inside one pair of brackets as they appear in names."""
    numbers: list[str] = []
    position = start
    for part in text[start:end].split(","):
        first, dash, last = part.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise HostlistError(f"{part!r} is no number and no range", text, position)
        low = int(first)
        high = int(last) if dash else low
        if high < low:
            raise HostlistError(f"the range {part!r} runs backwards", text, position)
        if high - low >= MAX_RANGE:
            raise HostlistError(
                f"the range {part!r} has more than {MAX_RANGE} hosts", text, position
            )
        if low == high:
            numbers.append(first)
        elif first[0] == "0":
            pattern = f"%0{len(first)}d"
            numbers += [pattern % number for number in range(low, high + 1)]
        else:
            numbers += map(str, range(low, high + 1))
        position += len(part) + 1
    return numbers


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def compress(hosts: Iterable[str], *, sort: bool = False) -> str:
    """Return the hostlist of these names.

    Args:
        hosts: plain names. Order and duplicates are kept: ``n3, n2, n2`` gives ``n[3,2,2]``.
        sort: order them by prefix and number first, which gives the shortest list.

    Raises:
        HostlistError: a name is empty or holds a bracket, a comma or white space.
    """
    runs = _joined(_split(host) for host in hosts)
    if sort:
        runs = _joined(_without_overlaps(sorted(runs)))
    words: list[str] = []
    for prefix, group in groupby(runs, key=itemgetter(0)):
        numbered: list[str] = []
        for run in group:
            if run.width:
                numbered.append(str(run))
                continue
            words += _bracketed(prefix, numbered)
            numbered = []
            words.append(prefix)
        words += _bracketed(prefix, numbered)
    return ",".join(words)


class _Run(NamedTuple):
    """Consecutive numbers behind one prefix; sorted as a tuple it sorts as hostlistsorted does."""

    prefix: str
    width: int  # digits of the first number, zeros included; 0 for a name without a number
    low: int
    high: int

    def __str__(self) -> str:
        first = str(self.low).zfill(self.width)
        return first if self.low == self.high else f"{first}-{str(self.high).zfill(self.width)}"


def _split(host: str) -> _Run:
    if not host or _NO_NAME.search(host):
        raise HostlistError("this is no host name", host, 0)
    prefix = host.rstrip(_DIGITS)
    width = len(host) - len(prefix)
    if not 0 < width <= _MAX_DIGITS:
        return _Run(host, 0, 0, 0)
    number = int(host[len(prefix) :])
    return _Run(prefix, width, number, number)


def _joined(runs: Iterable[_Run]) -> list[_Run]:
    """Join each run to the one before it where the numbers go on and the padding agrees."""
    joined: list[_Run] = []
    prefix, width, low, high = "", 0, 0, -1
    for run in runs:
        if (
            run.low == high + 1
            and width
            and run.prefix == prefix
            and run.width == _digits(run.low, width)
            and run.high - low < MAX_RANGE
        ):
            high = run.high
            continue
        if high >= 0:
            joined.append(_Run(prefix, width, low, high))
        prefix, width, low, high = run
    if high >= 0:
        joined.append(_Run(prefix, width, low, high))
    return joined


def _digits(number: int, width: int) -> int:
    """Return how many digits a number has in a run whose first number has ``width`` digits."""
    return max(width, len(str(number)))


def _without_overlaps(runs: list[_Run]) -> Iterator[_Run]:
    """Yield sorted runs, those that overlap taken apart: duplicates then stand side by side."""
    cluster: list[_Run] = []
    high = -1
    for run in runs:
        prefix, width = cluster[0][:2] if cluster else ("", 0)
        overlaps = run.low <= high and run.prefix == prefix and run.width == _digits(run.low, width)
        if not overlaps:
            yield from _apart(cluster)
            cluster, high = [], -1
        cluster.append(run)
        high = max(high, run.high)
    yield from _apart(cluster)


def _apart(cluster: list[_Run]) -> list[_Run]:
    if len(cluster) < 2 or cluster[0].width == 0:
        return cluster
    prefix, width = cluster[0][:2]
    numbers = sorted(number for run in cluster for number in range(run.low, run.high + 1))
    return [_Run(prefix, _digits(number, width), number, number) for number in numbers]


def _bracketed(prefix: str, numbered: list[str]) -> list[str]:
    if not numbered:
        return []
    if len(numbered) == 1 and "-" not in numbered[0]:
        return [prefix + numbered[0]]
    return [f"{prefix}[{','.join(numbered)}]"]
