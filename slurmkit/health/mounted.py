"""What is mounted on a node, for the checks that ask for it."""

import re

from slurmkit.health.check import Node
from slurmkit.record import Record

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(Record):
    """One mount.

    Attributes:
        source: a device, or a server's export.
        point: the folder that it is mounted on.
        kind: its file system's type.
        options: such as rw.
    """

    source: str
    point: str
    kind: str
    options: frozenset[str]


def mounts_of(node: Node) -> list[Mount]:
    """Return the mounts in the order in which they were made; the last on a folder is seen."""
    text = node.read("proc/self/mounts") or node.read("proc/mounts")
    found = (line.split() for line in text.splitlines())
    return [
        Mount(_plain(words[0]), _plain(words[1]), words[2], frozenset(words[3].split(",")))
        for words in found
        if len(words) >= 4
    ]


def _plain(text: str) -> str:
    r"""Return a name of /proc/mounts, in which blanks are written as ``\040`` (fstab(5))."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)
