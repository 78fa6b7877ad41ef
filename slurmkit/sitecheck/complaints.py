"""What slurmctld complains of, read back into file and line. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from slurmkit.errors import Location, Problem
from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster, Entity
from slurmkit.sitecheck.syntax import Line, Pair

fault = partial(registry.fault, group="Seen by slurmctld")

ERROR = fault("slurmctld-error", "slurmctld says that something is wrong.", "Mend what it names.")
FATAL = fault(
    "slurmctld-fatal", "slurmctld ends with the candidate, and says why.", "Mend what it names."
)
DOWN = fault(
    "slurmctld-silent", "slurmctld did not come up, and did not say why.", "Read its whole log."
)

_LINE = re.compile(r"^(?:slurmctld: |\[[^\]]*\] )(?P<level>error|fatal|warning): (?P<text>.*)$")
_IN_FILE = re.compile(r"in file (?P<file>\S+) line (?P<line>\d+)(?:: \"(?P<rest>.*)\")?")
_KEY = re.compile(r"unrecognized key: (?P<key>\w+)|for (?P<named>\w+) is not recognized")
_WORD = re.compile(r"[\w./\[\],:-]{2,}")

#: What a slurmctld without state, database, mail and other controllers says, whatever its files.
_NOISE = re.compile(
    r"Configured MailProg is invalid|state (?:save )?file|accounting information|fed_mgr"
    r"|may be lost|High latency for|_shutdown_bu_thread|last_config_lite|job_list|dbd"
    r"|unable to (?:open|chown)|Trying backup|priority_p|clustername|get_addr_info|"
    r"Unable to resolve|slurm_set_addr|slurm_get_port|Error connecting, bad data|"
    r"agent/|ping_nodes|power_save module|cpu_freq|Could not open .* state|plugin_name"
)
#: What it says where slurmdbd was left out.
_ACCOUNTS = re.compile(
    r"used with SlurmDBD|slurmdbd|association|\bassoc_mgr|Fairshare", re.IGNORECASE
)
#: What follows from an error that was named before.
_FOLLOWS = re.compile(r"Unable to process configuration|something wrong with opening/reading")


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
    words = [word.strip(".,:;()'\"") for word in _WORD.findall(text)]
    for finder in (_value, _entity, _keyword):
        for word in words:
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


def _lines(cluster: Cluster) -> Iterator[Line]:
    for conf in cluster.confs.values():
        if conf.name != "slurmdbd.conf":  # slurmctld does not read it
            yield from conf.lines


def _pairs(cluster: Cluster) -> Iterator[Pair]:
    for line in _lines(cluster):
        yield from line.pairs


def _key(cluster: Cluster, key: str) -> Location | None:
    wanted = key.lower()
    return next((pair.where for pair in _pairs(cluster) if pair.name == wanted), None)


def _value(cluster: Cluster, word: str) -> Location | None:
    """Return where a whole value stands that is no number and no common word."""
    if len(word) < 4 or word.isdigit() or word.lower() in _COMMON:
        return None
    found = [pair for pair in _pairs(cluster) if pair.value == word]
    return found[0].value_where if len(found) == 1 else None


def _entity(cluster: Cluster, word: str) -> Location | None:
    line: Entity | None = cluster.by_node.get(word)
    if line is None:
        line = next((p for p in cluster.partitions if p.name.value == word), None)
    if line is not None and word.lower() not in _COMMON:
        return line.name.where
    return None


def _keyword(cluster: Cluster, word: str) -> Location | None:
    name = word.partition("=")[0]
    return _key(cluster, name) if name[:1].isupper() and len(name) > 3 else None


_COMMON = frozenset(
    {"error", "invalid", "node", "nodes", "partition", "file", "line", "configuration", "default"}
    | {"debug", "info", "none", "yes", "gres", "name", "type", "count", "files", "cores", "slurm"}
    | {"slurmctld", "plugin", "cannot", "find", "unable", "specified"}
)
