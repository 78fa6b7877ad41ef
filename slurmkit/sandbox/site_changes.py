"""What differs between a site's own files and those that a sandbox has of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slurmkit.site.generate import File
from slurmkit.site.generate.lines import key_of


@dataclass(frozen=True)
class Change:
    """What differs from the site's own files.

    Attributes:
        file: name of the file.
        what: the keyword, or the file's first word on it.
        site: what the site has; empty for nothing.
        sandbox: what the sandbox has; empty for nothing.
    """

    file: str
    what: str
    site: str
    sandbox: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}: {self.site or '-'} -> {self.sandbox or '-'}"


def changes(own: Mapping[str, File], here: Mapping[str, File]) -> Iterator[Change]:
    """Yield what differs: of slurm.conf each keyword, of other files that they do."""
    for path in sorted({*own, *here}):
        before, after = own.get(path), here.get(path)
        name = path.removeprefix("/etc/slurm/")
        if before is None or after is None:
            yield Change(name, "the file", "there" if before else "", "there" if after else "")
        elif name.endswith("slurm.conf"):
            yield from _by_key(name, before.text, after.text)
        elif _told(before.text) != _told(after.text):
            yield Change(name, "its lines", "the site's", "as these values make them")


def _told(text: str) -> list[str]:
    """Return the lines that are no comments."""
    return [line for line in text.splitlines() if not line.startswith(("#", "--"))]


def _by_key(file: str, before: str, after: str) -> Iterator[Change]:
    old, new = _keys(before), _keys(after)
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield Change(file, key, "; ".join(old.get(key, [])), "; ".join(new.get(key, [])))


def _keys(text: str) -> dict[str, list[str]]:
    """Return the values of each keyword, and of a node's or partition's line each word."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key = key_of(line)
        if not key:
            continue
        name, _, value = line.partition("=")
        if key in ("nodename", "partitionname"):
            for word in line.split()[1:]:
                inner, _, inner_value = word.partition("=")
                found.setdefault(f"{name}: {inner}", []).append(inner_value)
        found.setdefault(name, []).append(value.split()[0] if value.split() else "")
    return found
