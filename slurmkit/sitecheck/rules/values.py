"""Values of single keywords: numbers, yes and no, times, plugins, and words from a list."""

import re
from functools import partial

from slurmkit.errors import Location
from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.choices import CHOICES, PLUGINS, RANGES, TIMES, WORDS
from slurmkit.sitecheck.config import Cluster, number, words_of
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.syntax import Pair

fault = partial(registry.fault, group="Values")

NUMBER = fault("bad-number", "A value is no whole number.", "Write a whole number.")
RANGE = fault("out-of-range", "A number is outside of what Slurm or sense allows.", "Mend it.")
BOOLEAN = fault("bad-boolean", "A value is neither yes nor no.", "Write yes or no.")
PLUGIN = fault("unknown-plugin", "No release of Slurm ships the plugin.", "Mend its name.")
PLUGIN_RELEASE = fault(
    "plugin-not-in-release",
    "This release does not have the plugin.",
    "Choose one that it has, or generate the site for the release that runs.",
)
CHOICE = fault("bad-choice", "A value is none of those that Slurm knows.", "Choose one of them.")
TIME = fault("bad-time", "A value is no time.", "Write minutes, HH:MM:SS, D-HH:MM:SS or UNLIMITED.")
RELATIVE = fault("relative-path", "A path does not start at the root.", "Write the whole path.")

_BITS = {"uint16": 1 << 16, "uint32": 1 << 32, "uint64": 1 << 64}
_TIME = re.compile(r"(\d+-)?\d+(:\d+){0,2}|infinite|unlimited|-1|none", re.IGNORECASE)
_PATHS = frozenset(
    {"statesavelocation", "slurmdspooldir", "slurmctldlogfile", "slurmdlogfile", "slurmctldpidfile"}
    | {"slurmdpidfile", "plugindir", "healthcheckprogram", "resumeprogram", "suspendprogram"}
    | {"rebootprogram", "unkillablestepprogram", "resumefailprogram", "tmpfs", "mailprog"}
)
_BOOLEANS = frozenset({"yes", "no", "true", "false", "y", "n", "1", "0", "up", "down", "t", "f"})


@rule
def types(cluster: Cluster) -> Problems:
    """Whether numbers are numbers and yes is yes."""
    for conf, starter, pair in cluster.pairs():
        keyword = words.find(conf.name, pair.key, starter)
        if keyword is None:
            continue
        if keyword.kind in _BITS:
            yield from _number(pair, keyword)
        elif keyword.kind == "boolean" and pair.value.lower() not in _BOOLEANS:
            yield BOOLEAN(f"{pair.key}={pair.value}: yes or no", pair.value_where, key=pair.key)


def _number(pair: Pair, keyword: words.Keyword) -> Problems:
    text = pair.value
    if text.lower() in ("infinite", "unlimited", "no_val") or text in ("-1",):
        return
    value = number(text[:-1] if text[-1:] in "kKmMgG" else text)  # Slurm reads these, too
    if value is None:
        yield NUMBER(f"{pair.key}={text} is no whole number", pair.value_where, key=pair.key)
    elif value >= _BITS[keyword.kind]:
        most = _BITS[keyword.kind] - 1
        yield RANGE(f"{pair.key}={text}: at most {most}", pair.value_where, key=pair.key)


@rule
def ranges(cluster: Cluster) -> Problems:
    """Whether numbers are in their range."""
    for conf, starter, pair in cluster.pairs():
        if conf.name != "slurm.conf":
            continue
        found = RANGES.get((starter, pair.name))
        value = number(pair.value)
        if found and value is not None and not found.least <= value <= found.most:
            message = f"{pair.key}={value}: {found.least} to {found.most} {found.why}".rstrip()
            yield RANGE(message, pair.value_where, key=pair.key)


@rule
def plugins(cluster: Cluster) -> Problems:
    """Whether the release has every plugin that is named."""
    for conf, starter, pair in cluster.pairs():
        kind = PLUGINS.get((conf.name, pair.name))
        if starter or kind is None:
            continue
        for word, where in words_of(pair):
            prefix, slash, rest = word.partition("/")
            name = rest if slash else prefix
            if (kind, word) in _OTHER_KIND:
                continue
            if slash and prefix != kind:
                near = f"Did you mean {kind}/{name}?" if words.plugin(kind, name) else ""
                yield PLUGIN(f"{pair.key}={word} is no {kind} plugin", where, near, pair.key)
            elif name != "none":
                yield from _plugin(cluster, pair, kind, name, where)


#: What one keyword names of another's: slurm.conf(5), and 24.11.5 and 26.05.5 start with it.
_OTHER_KIND = {("cred", "auth/slurm")}
#: What is read like a plugin and is none: cgroup.conf(5), slurm.conf(5).
_NO_PLUGINS = {("cgroup", "autodetect"), ("cgroup", "disabled"), ("topology", "default")}


def _plugin(cluster: Cluster, pair: Pair, kind: str, name: str, where: Location) -> Problems:
    found = words.plugin(kind, name)
    if (kind, name) in _NO_PLUGINS:
        return
    if found is None:
        hint = words.meant(name, words.plugins(kind, cluster.release))
        message = f"Slurm ships no plugin {kind}/{name}"
        own = "Mend its name, unless it is a plugin of yours."
        yield PLUGIN(message, where, hint or own, pair.key).replace(warning=not hint)
    elif not found.known(cluster.release):
        dates = [f"from {found.since} on"] if found.since else []
        dates += [f"before {found.until}"] if found.until else []
        when = " and ".join(dates)
        message = f"{kind}/{name} exists {when}; this is {cluster.release}"
        yield PLUGIN_RELEASE(message, where, key=pair.key)


@rule
def choices(cluster: Cluster) -> Problems:
    """Whether words are among those that Slurm knows."""
    for conf, starter, pair in cluster.pairs():
        place = (conf.name, starter, pair.name)
        if known := CHOICES.get(place):
            yield from _choice(pair, pair.value, pair.value_where, known)
        elif listed := WORDS.get(place):
            for word, where in words_of(pair):
                yield from _choice(pair, word.partition("=")[0], where, listed)


def _choice(pair: Pair, word: str, where: Location, known: frozenset[str]) -> Problems:
    if word.lower() in {name.lower() for name in known}:
        return
    hint = words.meant(word, known) or f"Slurm knows {', '.join(sorted(known)[:12])}."
    yield CHOICE(f"{pair.key} has no {word!r}", where, hint, pair.key)


@rule
def times(cluster: Cluster) -> Problems:
    """Whether times are times."""
    for conf, starter, pair in cluster.pairs():
        if (conf.name, starter, pair.name) in TIMES and not _TIME.fullmatch(pair.value):
            yield TIME(f"{pair.key}={pair.value} is no time", pair.value_where, key=pair.key)


@rule
def paths(cluster: Cluster) -> Problems:
    """Whether paths start at the root."""
    for name, pairs in cluster.slurm.settings.items():
        for pair in pairs:
            whole = pair.value.startswith("/") or pair.value in ("(null)", "none")
            if name in _PATHS and not whole:
                message = f"{pair.key}={pair.value} is no whole path"
                yield RELATIVE(message, pair.value_where, key=pair.key)
