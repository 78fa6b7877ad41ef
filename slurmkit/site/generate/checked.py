"""Reads what was generated and refuses what the release does not know. Pure."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from slurmkit.errors import UsageError
from slurmkit.site.generate import versions
from slurmkit.site.generate.files import File
from slurmkit.site.generate.release import Release

_FILES = ("slurm.conf", "gres.conf", "cgroup.conf", "topology.conf", "slurmdbd.conf")
# Further words of a line belong to its first keyword, which names a thing.
_LINE_FILES = ("gres.conf", "topology.conf")


def keywords(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, table, keyword) of a file of Slurm; the table as `versions` names it.

    Args:
        name: ``slurm.conf``, ``gres.conf`` ...
        text: its content.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].strip()
        if "=" not in words:
            continue
        first = words.partition("=")[0].strip()
        yield number, name, first
        inner = versions.LINES.get(first.lower()) if name == "slurm.conf" else None
        if inner is None and name not in _LINE_FILES:
            continue
        for word in words.split()[1:]:
            if "=" in word:
                yield number, inner or name, word.partition("=")[0].rstrip("+-")


def unknown(files: Mapping[str, File], release: Release) -> list[str]:
    """Return what the release does not know or ignores, one sentence each."""
    found = []
    for path, file in files.items():
        name = PurePosixPath(path).name
        if name not in _FILES or not path.startswith("/etc/slurm/"):
            continue
        for number, table, keyword in keywords(name, file.text):
            state = versions.state(table, keyword, release)
            if state != "known":
                what = "does not know" if state == "unknown" else "ignores"
                found.append(f"{path}:{number}: Slurm {release.major} {what} {keyword}")
    return found


def check(files: Mapping[str, File], release: Release) -> None:
    """Raise where a file says what the release does not know.

    Raises:
        UsageError: something, with its file and line; it can only come from site.yaml.
    """
    if problems := unknown(files, release):
        raise UsageError(
            "; ".join(problems), hint="Mend slurm.lines in site.yaml, or slurm.version."
        )
