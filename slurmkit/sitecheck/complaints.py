"""What slurmctld complains of, read back into file and line. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from slurmkit.errors import Location, Problem
from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.choices import PLUGINS
from slurmkit.sitecheck.config import Cluster, Conf, Entity, hosts
from slurmkit.sitecheck.syntax import Pair

fault = partial(registry.fault, group="Seen by slurmctld")

ERROR = fault("slurmctld-error", "slurmctld says that something is wrong.", "Mend what it names.")
FATAL = fault(
    "slurmctld-fatal", "slurmctld ends with the candidate, and says why.", "Mend what it names."
)
DOWN = fault(
    "slurmctld-silent", "slurmctld did not come up, and did not say why.", "Read its whole log."
)

#: Until LogTimeFormat is read a line starts with the daemon, then with a time in brackets; with
#: thread_id it ends with the thread's address, which only 26.05 puts into brackets, too.
_LINE = re.compile(
    r"^(?:slurmctld: |\[[^\]]*\] |.* 0x[0-9a-f]+: )(?P<level>error|fatal|warning): (?P<text>.*)$"
)
_IN_FILE = re.compile(r"in file (?P<file>\S+) line (?P<line>\d+)(?:: \"(?P<rest>.*)\")?")
_KEY = re.compile(r"unrecognized key: (?P<key>\w+)|for (?P<named>\w+) is not recognized")
_WORD = re.compile(r"[\w./\[\],:-]{2,}")

#: What a slurmctld without state, database, mail and other controllers says, whatever its files.
_NOISE = re.compile(
    r"Configured MailProg is invalid|state (?:save )?file|accounting information|fed_mgr"
    r"|may be lost|High latency for|_shutdown_bu_thread|last_config_lite|job_list|dbd"
    r"|unable to (?:open|chown)|Trying backup|priority_p|clustername|get_addr_info|"
    r"Unable to resolve|slurm_set_addr|slurm_get_port|Error connecting, bad data|"
    r"agent/|ping_nodes|cpu_freq|Could not open .* state|plugin_name"
    # Programs of power saving are the controller's own; those of the site have a rule.
    r"|power_save (?:module|program)|Invalid \w+Program PowerAction"
)
#: What it says where slurmdbd was left out.
_ACCOUNTS = re.compile(
    r"used with SlurmDBD|slurmdbd|association|\bassoc_mgr|Fairshare", re.IGNORECASE
)
_TWICE = re.compile(r"more than once|[Dd]uplicate")
#: What follows from an error that was named before.
_FOLLOWS = re.compile(
    r"Unable to process configuration|something wrong with opening/reading"
    r"|Could not open/read/parse|Failed to initialize|cannot (?:create|find) \w+ (?:context|plugin)"
)


@dataclass(frozen=True)
class Complaint:
    """One line of slurmctld's log that is an error.

    Attributes:
        level: error, fatal or warning.
        text: what it says.
    """

    level: str
    text: str


def complaints(log: tuple[str, ...]) -> list[Complaint]:
    """Return what slurmctld complains of, without what it says of every candidate."""
    found = []
    for line in log:
        match = _LINE.match(line)
        if match and match["level"] != "warning" and not _NOISE.search(match["text"]):
            found.append(Complaint(match["level"], match["text"]))
    return list(dict.fromkeys(found))


def problems(
    cluster: Cluster, log: tuple[str, ...], *, up: bool, without_accounts: bool
) -> list[Problem]:
    """Return the complaints as problems, each at its place where that can be found.

    Args:
        cluster: the candidate.
        log: what slurmctld said.
        up: whether it came up all the same.
        without_accounts: whether slurmdbd was left out.
    """
    found = []
    said = complaints(log)
    if without_accounts:
        said = [complaint for complaint in said if not _ACCOUNTS.search(complaint.text)]
    named = [complaint for complaint in said if not _FOLLOWS.search(complaint.text)]
    for complaint in named or said:
        kind = FATAL if complaint.level == "fatal" else ERROR
        where = locate(cluster, complaint.text)
        found.append(kind(complaint.text, where))
    if not up and not found:
        last = log[-1] if log else "it said nothing"
        found.append(DOWN(f"its last line is: {last}", None))
    return found


def locate(cluster: Cluster, text: str) -> Location | None:
    """Return the place that a message is about; None where it names none."""
    if place := _in_file(cluster, text):
        return place
    if (match := _KEY.search(text)) and (place := _key(cluster, match["key"] or match["named"])):
        return place
    if place := _named(cluster, text):
        return place
    said = [word.strip(".,:;()'\"") for word in _WORD.findall(text)]
    if _TWICE.search(text):
        for word in said:
            if pairs := cluster.slurm.settings.get(word.lower()):
                return pairs[-1].where
    member = partial(_member, text=text)
    for finder in (_value, _entity, member, _in_yaml, _plugin, _keyword, _missing_keyword):
        for word in said:
            if place := finder(cluster, word):
                return place
    return None


def _in_file(cluster: Cluster, text: str) -> Location | None:
    match = _IN_FILE.search(text)
    file = cluster.file_at(match["file"]) if match else None
    if match is None or file is None:
        return None
    number, rest = int(match["line"]), (match["rest"] or "").strip()
    lines = file.text.splitlines()
    body = lines[number - 1] if number <= len(lines) else ""
    column = body.find(rest) + 1 if rest and rest in body else 1
    return Location(file.shown, number, column)


def _pairs(cluster: Cluster) -> Iterator[tuple[Conf, str, Pair]]:
    """Yield every pair that slurmctld reads."""
    return (found for found in cluster.pairs() if found[0].name != "slurmdbd.conf")


def _key(cluster: Cluster, key: str) -> Location | None:
    """Return where a keyword stands that is not known there; else where it stands first."""
    found = [item for item in _pairs(cluster) if item[2].name == key.lower()]
    lost = [item for item in found if words.find(item[0].name, key, item[1]) is None]
    return next((pair.where for _, _, pair in [*lost, *found]), None)


def _value(cluster: Cluster, word: str) -> Location | None:
    """Return where a whole value stands that is no number and no common word."""
    if len(word) < 4 or word.isdigit() or word.lower() in _COMMON:
        return None
    found = [pair for _, _, pair in _pairs(cluster) if pair.value == word]
    return found[0].value_where if len(found) == 1 else None


def _entity(cluster: Cluster, word: str) -> Location | None:
    line: Entity | None = cluster.by_node.get(word)
    if line is None:
        line = next((p for p in cluster.partitions if p.name.value == word), None)
    if line is not None and word.lower() not in _COMMON:
        return line.name.where
    return None


_NAMED = (
    (re.compile(r"[Ss]witch(?: configuration)? \(?([\w.-]+)\)?"), "topology.conf", "SwitchName"),
    (re.compile(r"[Bb]lock(?: configuration)? \(?([\w.-]+)\)?"), "topology.conf", "BlockName"),
    (re.compile(r"partition '?([\w.-]+)"), "slurm.conf", "PartitionName"),
)


def _named(cluster: Cluster, text: str) -> Location | None:
    """Return the line that defines a switch, block or partition that a message names as such."""
    for pattern, file, starter in _NAMED:
        conf, match = cluster.conf(file), pattern.search(text)
        if conf and match:
            first = [line.pairs[0] for line in conf.starting(starter)]
            same = [pair for pair in first if match[1] in (pair.value, *hosts(pair.value))]
            if same:
                return (same[-1] if _TWICE.search(text) or "already" in text else same[0]).where
    return None


def _member(cluster: Cluster, word: str, text: str) -> Location | None:
    """Return where a host is one of a list: of a switch, where it is about switches."""
    keys = ("nodes", "switches", "downnodes")
    found = [
        (conf, pair)
        for conf, _, pair in _pairs(cluster)
        if pair.name in keys and word in hosts(pair.value)
    ]
    about = [pair for conf, pair in found if ("switch" in text) == (conf.name == "topology.conf")]
    return about[-1].value_where if about else (found[-1][1].value_where if found else None)


def _in_yaml(cluster: Cluster, word: str) -> Location | None:
    """Return the last line of topology.yaml with a name of a node or switch."""
    found = cluster.candidate.conf("topology.yaml")
    if found is None or not word[-1:].isalnum() or word.lower() in _COMMON:
        return None
    name = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
    lines = found[1].text.splitlines()
    at = [index for index, line in enumerate(lines, start=1) if name.search(line)]
    return Location(found[1].shown, at[-1], 1) if at else None


def _plugin(cluster: Cluster, word: str) -> Location | None:
    """Return where a plugin such as job_submit/lua is switched on."""
    kind, slash, name = word.partition("/")
    for conf, _, pair in _pairs(cluster) if slash and name else ():
        if PLUGINS.get((conf.name, pair.name)) == kind and name in pair.value:
            return pair.value_where
    return None


def _keyword(cluster: Cluster, word: str) -> Location | None:
    """Return where a keyword is set."""
    name = word.partition("=")[0]
    return _key(cluster, name) if name[:1].isupper() and len(name) > 3 else None


def _missing_keyword(cluster: Cluster, word: str) -> Location | None:
    """Return the start of slurm.conf for a keyword that it lacks."""
    known = word[:1].isupper() and words.find("slurm.conf", word)
    return cluster.start if known else None


_COMMON = frozenset(
    {"error", "invalid", "node", "nodes", "partition", "file", "line", "configuration", "default"}
    | {"debug", "info", "none", "yes", "gres", "name", "type", "count", "files", "cores", "slurm"}
    | {"slurmctld", "plugin", "cannot", "find", "unable", "specified"}
)
