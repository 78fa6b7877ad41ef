"""The text of plugstack.conf: our own block in it, and what it loads. Pure."""

from dataclasses import dataclass

BEGIN = "# slurmkit plugins: begin (written by `slurmkit plugins install`)"
END = "# slurmkit plugins: end"


@dataclass(frozen=True)
class Entry:
    """One line that loads a plugin.

    Attributes:
        kind: ``required`` or ``optional``.
        plugin: file name, or absolute path.
        arguments: the words behind it.
    """

    kind: str
    plugin: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.kind, self.plugin, *self.arguments))


def entries(text: str) -> list[Entry]:
    """Return the plugins that a plugstack.conf loads by itself, without what it includes."""
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) >= 2 and words[0] in ("required", "optional"):
            found.append(Entry(words[0], words[1], tuple(words[2:])))
    return found


def includes(text: str) -> list[str]:
    """Return the patterns of the files that a plugstack.conf includes."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [words[1] for words in lines if len(words) == 2 and words[0] == "include"]


def without_block(text: str) -> str:
    """Return the text without our block; the rest stays byte for byte."""
    kept = []
    inside = False
    for line in text.splitlines(keepends=True):
        mark = line.strip()
        if mark == BEGIN:
            inside = True
        elif inside and mark == END:
            inside = False
        elif not inside:
            kept.append(line)
    if inside:  # somebody cut the end off: what follows is not ours to remove
        return text.replace(f"{BEGIN}\n", "")
    return "".join(kept)


def with_block(text: str, loaded: list[Entry]) -> str:
    """Return the text with our block at its end, in place of an earlier one."""
    rest = without_block(text)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return "\n".join([f"{rest}{BEGIN}", *map(str, loaded), f"{END}\n"])
