"""The reference page of releases, written from the tables that generation goes by."""

from slurmkit.site.generate.release import SUPPORTED, Release
from slurmkit.site.generate.versions import VALUES, Keyword, table

_HEAD = """\
# Releases of Slurm

What `slurmkit site generate` and `slurmkit site check` know of Slurm's releases. A keyword or
value that a release does not know is never written; a test generates all shipped sites for
{releases} and holds every line against these tables.

Source: the tables by which each release reads its own files, at the tags 22-05-8 and 24-11-5 and
the ends of the branches 23.02, 23.11, 24.05, 25.05, 25.11 and 26.05 of Slurm's source, and the
manual pages there. Besides, measured: `scontrol` of 22.05.8, 24.11.5 and 26.05.5 was given a
slurm.conf with all {count} keywords of the table, and refused exactly those that the table says
it does not know. 23.11 and 25.11 were read, not run.

A release that ignores a keyword says in slurmctld's log that it is defunct, and goes on; one that
refuses a keyword does not start.

## Values

What generation chooses by release.

| file | keyword | value | known | source |
|---|---|---|---|---|
"""

_KEYWORDS = """
## Keywords

Those that came or went since 22.05; {always} more are the same in all of them. `NodeName` and the
like stand for the words of such lines of slurm.conf.

| file or line | keyword | from | ignored from | refused from |
|---|---|---|---|---|
"""


def markdown() -> str:
    """Return the page."""
    changed = [entry for entry in table().values() if _changed(entry)]
    text = _HEAD.format(
        releases=", ".join(map(str, SUPPORTED[:-1])) + f" and {SUPPORTED[-1]}",
        count=sum(1 for entry in table().values() if entry.file == "slurm.conf"),
    )
    for value in VALUES:
        key = f"`{value.key}`" if value.key else "the file"
        text += _row(
            value.file, key, f"`{value.value}`", _known(value.since, value.gone), value.source
        )
    text += _KEYWORDS.format(always=len(table()) - len(changed))
    for entry in changed:
        releases = (entry.since, entry.ignored, entry.gone)
        text += _row(f"`{entry.file}`", f"`{entry.name}`", *(str(one or "") for one in releases))
    return text


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _changed(entry: Keyword) -> bool:
    return any((entry.since, entry.ignored, entry.gone))


def _known(since: Release | None, gone: Release | None) -> str:
    words = [f"from {since}"] if since else []
    words += [f"before {gone}"] if gone else []
    return " and ".join(words) or "all"
