"""Syntax and keywords of every file: what Slurm cannot read, does not know, or reads twice."""

from functools import partial
from itertools import pairwise

from slurmkit.errors import Location, Problem
from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.config import Cluster, Conf
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.syntax import Line, Pair

fault = partial(registry.fault, group="Syntax and keywords")

SYNTAX = fault(
    "syntax",
    "A part of a line is no `Keyword=value`.",
    "Write Keyword=value; a value with blanks stands in double quotes.",
)
COMMENT = fault(
    "comment-in-quotes",
    "A `#` inside quotes starts a comment for Slurm.",
    "Write \\# where the character is meant.",
)
SEVERAL = fault(
    "several-on-a-line",
    "Several settings stand on one line; Slurm reads the first and stops.",
    "Give each a line of its own.",
)
INCLUDE = fault(
    "include-missing", "An Include names a file that the site does not have.", "Add the file."
)
GLOB = fault("include-pattern", "An Include has a pattern; Slurm reads none.", "Name each file.")
INDENTED = fault(
    "include-indented",
    "An Include stands behind blanks, where Slurm does not see it.",
    "Move it to the first column.",
)
UNKNOWN = fault(
    "unknown-keyword",
    "No release of Slurm knows the keyword.",
    "Mend the name, or remove the line.",
)
ELSEWHERE = fault(
    "keyword-elsewhere", "The keyword belongs to another file or another kind of line.", "Move it."
)
RELEASE = fault(
    "keyword-not-in-release",
    "This release of Slurm does not know the keyword; another one does.",
    "Remove it, or generate the site for the release that runs.",
)
IGNORED = fault(
    "keyword-ignored",
    "This release reads the keyword and does nothing with it.",
    "Remove it.",
    warning=True,
)
TWICE = fault(
    "keyword-twice", "A setting stands twice; the last one counts.", "Keep one of the two."
)

#: Settings that add up when they stand on several lines (S_P_ARRAY in Slurm's tables).
_REPEATABLE = frozenset(
    {"slurmctldhost", "prolog", "epilog", "prologslurmctld", "epilogslurmctld", "srunargs"}
)


@rule
def lines(cluster: Cluster) -> Problems:
    """Whether every line can be read."""
    for conf in cluster.confs.values():
        starters = words.line_starters(conf.name)
        for line in conf.lines:
            yield from _line(conf, line, starters)
        for missing in conf.missing:
            broken = GLOB if "*" in missing.name else INCLUDE
            yield broken(
                f"Include {missing.name}: there is no such file in the site", missing.where
            )


def _line(conf: Conf, line: Line, starters: frozenset[str]) -> Problems:
    if line.comment_in_quotes:
        yield COMMENT("'#' ends the line here, inside of quotes", line.comment_in_quotes)
        return
    if line.rest:
        word = line.rest.split()[0]
        if word.lower() == "include" and not line.pairs and not line.include:
            yield INDENTED("Include stands behind blanks, and is not read", line.rest_where)
        else:
            yield SYNTAX(f"cannot read {line.rest[:60]!r}", line.rest_where)
    if len(line.pairs) > 1 and line.pairs[0].name not in starters:
        second = line.pairs[1]
        if words.find(conf.name, line.pairs[0].key):  # else the unknown keyword is the reason
            yield SEVERAL(
                f"{second.key} stands behind {line.pairs[0].key} on one line", second.where
            )


@rule
def keywords(cluster: Cluster) -> Problems:
    """Whether the release knows every keyword."""
    for conf in cluster.confs.values():
        starters = words.line_starters(conf.name)
        for line in conf.lines:
            if not line.pairs:
                continue
            first, *others = line.pairs
            yield from _keyword(cluster, conf, first, "")
            if first.name in starters:
                for pair in others:
                    yield from _keyword(cluster, conf, pair, first.key)


def _keyword(cluster: Cluster, conf: Conf, pair: Pair, starter: str) -> Problems:
    release = cluster.release
    known = words.find(conf.name, pair.key, starter)
    place = f"{starter} lines of {conf.name}" if starter else conf.name
    if known is None:
        homes = words.homes(conf.name, pair.key)
        if homes:
            yield ELSEWHERE(
                f"{pair.key} belongs to {' or '.join(homes[:2])}, not to {place}",
                pair.where,
                key=pair.key,
            )
            return
        hint = words.meant(pair.key, words.names(conf.name, release, starter))
        yield UNKNOWN(f"{place} has no keyword {pair.key}", pair.where, hint, pair.key)
        return
    state = known.state(release)
    if state == "unknown":
        yield RELEASE(f"{pair.key}: {_dates(known)}; this is {release}", pair.where, key=pair.key)
    elif state == "ignored":
        yield IGNORED(f"{pair.key}: Slurm {release} ignores it", pair.where, key=pair.key)


def _dates(keyword: words.Keyword) -> str:
    parts = []
    if keyword.since:
        parts.append(f"Slurm knows it from {keyword.since} on")
    if keyword.until:
        parts.append(f"Slurm {keyword.until} refuses it")
    return " and ".join(parts)


@rule
def twice(cluster: Cluster) -> Problems:
    """Whether a setting, or a key of a line, stands twice."""
    for conf in cluster.confs.values():
        for name, pairs in conf.settings.items():
            if name in _REPEATABLE or not words.find(conf.name, name):
                continue
            for before, pair in pairwise(pairs):
                yield _twice(pair, before.where)
        for starter in words.line_starters(conf.name):
            for line in conf.starting(starter):
                seen: dict[str, Pair] = {}
                for pair in line.pairs:
                    if pair.name in seen:
                        yield _twice(pair, seen[pair.name].where)
                    seen[pair.name] = pair


def _twice(pair: Pair, before: Location) -> Problem:
    return TWICE(f"{pair.key} stands at line {before.line} already", pair.where, key=pair.key)
