"""PartitionName, NodeSet and DownNodes lines: their nodes, times, limits and defaults."""

from functools import partial

from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.config import Cluster, Entity, hosts, split_hosts
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.rules.nodes import readable
from slurmkit.sitecheck.syntax import Pair
from slurmkit.units import parse_duration_s

fault = partial(registry.fault, group="Partitions")

NONE = fault("no-partitions", "slurm.conf defines no partition.", "Add a PartitionName line.")
UNKNOWN = fault(
    "unknown-node",
    "A line names a node that no NodeName line defines.",
    "Define the node, or mend the name.",
)
TWICE = fault("partition-twice", "A partition is defined twice.", "Keep one of the lines.")
DEFAULTS = fault("two-defaults", "Two partitions are the default.", "Keep one Default=YES.")
NO_DEFAULT = fault(
    "no-default-partition",
    "No partition is the default, so that jobs that name none are refused.",
    "Give one Default=YES.",
    warning=True,
)
TIMES = fault(
    "time-limits", "DefaultTime is longer than MaxTime.", "Make DefaultTime at most MaxTime."
)
NODES = fault(
    "node-limits",
    "MinNodes is more than MaxNodes, or than there are.",
    "Mend MinNodes or MaxNodes.",
)
UNUSED = fault(
    "node-in-no-partition",
    "A node is in no partition, so that no job runs there.",
    "Add it to a partition, or remove its line.",
    warning=True,
)
ALLOW = fault(
    "allow-and-deny",
    "A partition allows some and denies some; Slurm then ignores what it denies.",
    "Keep one of the two.",
    warning=True,
)
MEMORY = fault(
    "memory-limits",
    "What a job gets by default is more memory than it may have.",
    "Make the default at most the maximum.",
)
MEMORY_BOTH = fault(
    "memory-per-cpu-and-node",
    "Default memory is given per CPU and per node or GPU at once; only one counts.",
    "Keep one.",
)
MEMORY_NODE = fault(
    "memory-over-node",
    "Jobs that take all CPUs of a node get more memory by default than the node has.",
    "Lower DefMemPerCPU or DefMemPerGPU, or DefMemPerNode.",
)
ALTERNATE = fault("unknown-partition", "A name of a partition is that of none.", "Mend the name.")


@rule
def lines(cluster: Cluster) -> Problems:
    """Whether there are partitions, each once, with one default."""
    if not cluster.partitions and cluster.nodes:
        yield NONE("slurm.conf has no PartitionName line", cluster.start)
    seen: dict[str, Pair] = {}
    default: Entity | None = None
    for line in cluster.partitions:
        for name in line.name.value.split(","):
            if name in seen:
                message = f"{name} stands at line {seen[name].where.line} already"
                yield TWICE(message, line.name.value_where, key="PartitionName")
            seen[name] = line.name
        if line.value("Default").upper() in ("YES", "TRUE"):
            if default is not None:
                pair = line.pair("Default")
                message = f"{default.name.value} is the default already"
                yield DEFAULTS(message, pair.value_where, key="Default")
            default = line
    if cluster.partitions and default is None:
        first = cluster.partitions[0].name
        yield NO_DEFAULT("no partition has Default=YES", first.where)


@rule
def alternates(cluster: Cluster) -> Problems:
    """Whether partitions that stand in for others exist."""
    names = {name for line in cluster.partitions for name in line.name.value.split(",")}
    for line in cluster.partitions:
        pair = line.values.get("alternate")
        if pair and pair.value not in names:
            hint = words.meant(pair.value, names)
            message = f"there is no partition {pair.value}"
            yield ALTERNATE(message, pair.value_where, hint, pair.key)


@rule
def nodes(cluster: Cluster) -> Problems:
    """Whether every node that a line names exists, and each is in a partition."""
    if not cluster.nodes:
        return
    places = [line.values["nodes"] for line in cluster.partitions if "nodes" in line.values]
    places += [line.values["nodes"] for line in cluster.nodesets.values() if "nodes" in line.values]
    places += [line.pairs[0] for line in cluster.slurm.starting("DownNodes")]
    pair = cluster.slurm.pair("SuspendExcNodes")
    if pair:  # each host list may end with :COUNT
        places.append(pair)
    for place in dict.fromkeys(places):
        yield from unknown(cluster, place)
    used = {name for line in cluster.partitions for name in cluster.members(line.value("Nodes"))}
    for line in cluster.nodes:
        unused = [name for name in line.names if name not in used]
        if unused and cluster.partitions and line.value("State").upper() != "FUTURE":
            more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
            yield UNUSED(f"{unused[0]}{more}: in no partition", line.name.value_where)


def unknown(cluster: Cluster, pair: Pair) -> Problems:
    """Say which nodes of a Nodes= value nothing defines."""
    yield from readable(pair)
    column = 0
    for word in split_hosts(pair.value):
        at = pair.value.find(word, column)
        column = at + len(word)
        name = word.partition(":")[0] if pair.name == "suspendexcnodes" else word
        if name.upper() in ("ALL", "NONE", "(NULL)") or name in cluster.nodesets:
            continue
        missing = [host for host in hosts(name) if host not in cluster.by_node]
        if missing:
            hint = words.meant(missing[0], [*cluster.by_node, *cluster.nodesets])
            more = f" nor {len(missing) - 1} more" if len(missing) > 1 else ""
            place = pair.value_where.replace(column=pair.value_where.column + at)
            yield UNKNOWN(f"no NodeName line defines {missing[0]}{more}", place, hint, pair.key)


@rule
def limits(cluster: Cluster) -> Problems:
    """Whether limits of time and nodes agree."""
    for line in cluster.partitions:
        yield from _times(line)
        least, most = line.number("MinNodes"), line.number("MaxNodes")
        there = len(set(cluster.members(line.value("Nodes"))))
        if least is not None and most is not None and least > most:
            message = f"MinNodes={least} and MaxNodes={most}"
            yield NODES(message, line.pair("MinNodes").value_where, key="MinNodes")
        elif least is not None and there and least > there:
            message = f"MinNodes={least}, and the partition has {there} nodes"
            yield NODES(message, line.pair("MinNodes").value_where, key="MinNodes")
        for kind in ("Accounts", "Groups", "Qos"):
            deny = line.values.get(f"deny{kind.lower()}")
            allow = line.value(f"Allow{kind}", "ALL")
            if deny and allow.upper() != "ALL":
                message = f"Allow{kind}={allow} and {deny.key}={deny.value}"
                yield ALLOW(message, deny.value_where, key=deny.key)


def _times(line: Entity) -> Problems:
    try:
        most, default = (_seconds(line.value(key)) for key in ("MaxTime", "DefaultTime"))
    except ValueError:
        return  # what is no time has a fault of its own
    if most is not None and default is not None and default > most:
        pair = line.pair("DefaultTime")
        message = f"DefaultTime={pair.value} and MaxTime={line.value('MaxTime')}"
        yield TIMES(message, pair.value_where, key="DefaultTime")


def _seconds(text: str) -> int | None:
    if text.lower() in ("", "none", "infinite", "unlimited", "-1"):
        return None
    return parse_duration_s(text)


_DEFAULTS = ("DefMemPerCPU", "DefMemPerNode", "DefMemPerGPU")


@rule
def memory(cluster: Cluster) -> Problems:
    """Whether default memory fits below the maximum and into the nodes."""
    slurm = cluster.slurm
    top = {name: pair for name in _DEFAULTS if (pair := slurm.pair(name))}
    places: list[tuple[dict[str, Pair], Entity | None]] = [(top, None)]
    for line in cluster.partitions:
        own = {name: line.values[name.lower()] for name in _DEFAULTS if name.lower() in line.values}
        places.append((own, line))
    for pairs, partition in places:
        if len(pairs) > 1:
            second = list(pairs.values())[1]
            message = f"{' and '.join(pairs)} at once"
            yield MEMORY_BOTH(message, second.value_where, key=second.key)
        yield from _over_most(cluster, pairs, partition)
        yield from _over_node(cluster, pairs, partition)


def _over_most(cluster: Cluster, pairs: dict[str, Pair], line: Entity | None) -> Problems:
    for kind in ("CPU", "Node"):
        pair = pairs.get(f"DefMemPer{kind}")
        name = f"MaxMemPer{kind}"
        most = cluster.slurm.number(name) if line is None else line.number(name)
        if pair and most and pair.value.isdigit() and int(pair.value) > most:
            message = f"{pair.key}={pair.value} and {name}={most}"
            yield MEMORY(message, pair.value_where, key=pair.key)


def _over_node(cluster: Cluster, pairs: dict[str, Pair], line: Entity | None) -> Problems:
    if line is None:
        names = list(cluster.by_node)
    else:
        names = [name for name in cluster.members(line.value("Nodes")) if name in cluster.by_node]
    for entity in {cluster.by_node[name].name: cluster.by_node[name] for name in names}.values():
        mib = entity.number("RealMemory")
        counts = {"DefMemPerCPU": entity.cpus, "DefMemPerNode": 1}
        for name, pair in pairs.items():
            need = int(pair.value) * counts.get(name, 0) if pair.value.isdigit() else 0
            if mib and need > mib:
                message = (
                    f"{pair.key}={pair.value} x {counts[name]} is {need} MiB, and"
                    f" {entity.name.value} has {mib}"
                )
                yield MEMORY_NODE(message, pair.value_where, key=pair.key)
                return
