"""What the files say against what slurmctld made of it: values that it changed or ignored. Pure."""

import re
from functools import partial

from slurmkit.errors import Problem
from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster, Entity, number
from slurmkit.sitecheck.registry import Problems
from slurmkit.sitecheck.rules.gres import claims
from slurmkit.sitecheck.syntax import Pair
from slurmkit.sitecheck.without_accounts import CHANGED
from slurmkit.slurm import normalise
from slurmkit.units import parse_duration_s

fault = partial(registry.fault, group="Seen by slurmctld")

VALUE = fault(
    "changed-by-slurmctld",
    "slurmctld runs with another value than the file gives.",
    "Write the value that it takes, or find what changes it.",
    warning=True,
)
NODE = fault(
    "node-not-taken",
    "slurmctld knows nothing of a node of the files.",
    "Read what it says of the line.",
)

_SETTING = re.compile(r"^(\w+)\s*=\s?(.*)$", re.MULTILINE)
_UNIT = re.compile(r"^(-?\d+)\s*(?:sec|min|usec|secs|mins|%|percent|hours|days)?\.?$")
#: scontrol prints these in another form than they are written in, prints what is resolved, or knows
#: nothing of them, because they are left out.
_OTHER_FORM = frozenset(
    {"slurmctldhost", "slurmuser", "slurmduser", "slurmctlddebug", "slurmddebug", "debugflags"}
    | {"slurmctldsyslogdebug", "slurmdsyslogdebug", "selecttypeparameters", "preemptmode"}
    | {"slurmschedloglevel", "schedulerparameters", "jobcomppass", "logtimeformat", "mailprog"}
    | {"taskpluginparam", "authinfo", "healthchecknodestate", "propagateresourcelimits"}
    | {"propagateresourcelimitsexcept", "schedulertype", "cpufreqdef", "prologflags", "licenses"}
    | {"suspendexcparts", "suspendexcnodes", "jobcompuser", "cpufreqgovernors", "topologyplugin"}
    | {"enforcepartlimits", "slurmdspooldir", "slurmdlogfile", "slurmdpidfile", "privatedata"}
    | {"prolog", "epilog", "prologslurmctld", "epilogslurmctld", "jobcontainertype"}
    | {"authtype", "authalttypes", "authaltparameters", "credtype", "plugindir"}
    | {"priorityflags"}  # FAIR_TREE is what holds without it, and is not shown
)


def problems(cluster: Cluster, config: str, nodes: str, partitions: str) -> list[Problem]:
    """Return what slurmctld made otherwise.

    Args:
        cluster: the candidate.
        config: what ``scontrol show config`` printed.
        nodes: what ``scontrol -o show nodes`` printed.
        partitions: what ``scontrol -o show partitions`` printed.
    """
    return [
        *_settings(cluster, config),
        *_nodes(cluster, _records(nodes, "NodeName")),
        *_partitions(cluster, _records(partitions, "PartitionName")),
    ]


def _settings(cluster: Cluster, config: str) -> Problems:
    shown = {name.lower(): value.strip() for name, value in _SETTING.findall(config)}
    for name in cluster.slurm.settings:
        pair = cluster.slurm.pair(name)
        if pair is None or name in CHANGED or name in _OTHER_FORM or name not in shown:
            continue
        if not _same(pair.value, shown[name]):
            message = f"{pair.key}={pair.value}; slurmctld runs with {shown[name]}"
            yield VALUE(message, pair.value_where, key=pair.key)


def _same(said: str, shown: str) -> bool:
    """Return whether a value and what scontrol prints mean the same."""
    if said.lower() == shown.lower():
        return True
    unit = _UNIT.match(shown)
    if unit and number(said) is not None:
        return int(unit[1]) == int(said)
    words = ({"yes": "1", "no": "0", "true": "1", "false": "0"}, {"(null)": "", "none": ""})
    left, right = said.lower(), shown.lower()
    for table in words:
        left, right = table.get(left, left), table.get(right, right)
    if left == right:
        return True
    if _is_time(said) and _is_time(shown):
        return _seconds(said) == _seconds(shown)
    if number(said) is not None or unit:
        return number(said) is None or unit is None  # another form; who knows
    return _words(left) <= _words(right) or not _words(right)


def _words(text: str) -> set[str]:
    return {
        word.strip().rpartition("/")[2].split("=")[0] for word in text.split(",") if word.strip()
    }


def _is_time(text: str) -> bool:
    return bool(re.fullmatch(r"(\d+-)?\d+(:\d+){1,2}|\d+-\d+", text))


def _records(text: str, name: str) -> dict[str, dict[str, str]]:
    """Return what scontrol printed, one line per record, by the record's name."""
    return {
        values[name]: {key.lower(): value for key, value in values.items()}
        for values in normalise.records(text, name)
    }


_NODE = (("RealMemory", "realmemory"), ("Weight", "weight"), ("ThreadsPerCore", "threadspercore"))


def _nodes(cluster: Cluster, shown: dict[str, dict[str, str]]) -> Problems:
    for line in cluster.nodes:
        if line.value("State").upper() == "FUTURE" or not line.names:
            continue
        name = line.names[0]
        there = shown.get(name)
        if there is None:
            yield NODE(f"{name}: unknown to slurmctld", line.name.value_where, key="NodeName")
            continue
        for key, field in _NODE:
            pair = line.values.get(key.lower())
            if pair and there.get(field, pair.value) != pair.value and pair.value.isdigit():
                yield _changed(pair, name, there[field])
        cpus = there.get("cputot", "")
        if cpus.isdigit() and int(cpus) not in _cpus(line):
            pair = line.pair("CPUs", "Procs", "Sockets", "CoresPerSocket")
            yield _changed(pair, name, f"{cpus} CPUs")
        gres = there.get("gres", "")
        for claim in claims(line):
            if f"{claim.name}:" not in gres and claim.name not in gres:
                yield _changed(line.pair("Gres"), name, gres)


def _cpus(line: Entity) -> set[int]:
    """Return what counts of CPUs a node line may come to."""
    return {line.cpus, line.cores_product, line.cores}


_LIMITS = ("MaxTime", "DefaultTime")
_COUNTS = ("PriorityTier", "PriorityJobFactor", "MaxNodes", "MinNodes", "GraceTime")


def _partitions(cluster: Cluster, shown: dict[str, dict[str, str]]) -> Problems:
    for line in cluster.partitions:
        there = shown.get(line.name.value)
        if there is None:
            continue
        for key in _LIMITS:
            pair, value = line.values.get(key.lower()), there.get(key.lower(), "")
            if pair and _is_time(value) and _seconds(pair.value) not in (None, _seconds(value)):
                yield _changed(pair, line.name.value, value)
        for key in _COUNTS:
            pair, value = line.values.get(key.lower()), there.get(key.lower(), "")
            if pair and value.isdigit() and pair.value.isdigit() and int(value) != int(pair.value):
                yield _changed(pair, line.name.value, value)
        pair, value = line.values.get("nodes"), there.get("totalnodes", "")
        if pair and value.isdigit() and len(set(cluster.members(pair.value))) != int(value):
            yield _changed(pair, line.name.value, f"{value} nodes")


def _seconds(text: str) -> int | None:
    try:
        return parse_duration_s(text)
    except ValueError:
        return None


def _changed(pair: Pair, name: str, value: str) -> Problem:
    message = f"{name}: {pair.key}={pair.value}; slurmctld runs with {value or 'nothing'}"
    return VALUE(message, pair.value_where, key=pair.key)
