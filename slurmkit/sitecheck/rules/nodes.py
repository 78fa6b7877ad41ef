"""NodeName lines: names, CPUs, memory, cores kept back, states, addresses."""

from functools import partial

from slurmkit.errors import UsageError
from slurmkit.hostlist import HostlistError, expand
from slurmkit.sitecheck import registry
from slurmkit.sitecheck.choices import NODE_STATES
from slurmkit.sitecheck.config import Cluster, Entity, hosts, split_hosts
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.syntax import Pair
from slurmkit.topology.cpuset import parse_cpulist

fault = partial(registry.fault, group="Nodes")

NONE = fault("no-nodes", "slurm.conf defines no node.", "Add NodeName lines.")
HOSTS = fault("bad-host-list", "A list of hosts cannot be read.", "Write it as n[001-016,20].")
TWICE = fault("node-twice", "A node is defined twice.", "Keep one of the lines.")
CPUS = fault(
    "cpu-arithmetic",
    "CPUs are not Sockets x CoresPerSocket x ThreadsPerCore, nor the cores or sockets.",
    "Copy the line that `slurmd -C` prints on the node.",
)
MEMORY = fault(
    "memory-unlikely",
    "RealMemory is unlikely; its unit is MiB.",
    "Copy the line that `slurmd -C` prints on the node.",
    warning=True,
)
NO_MEMORY = fault(
    "memory-missing",
    "A node says nothing of its memory, which then is 1 MiB, while memory is given out.",
    "Add RealMemory=, in MiB.",
)
SPEC = fault(
    "cores-kept-back",
    "More cores are kept back for the system than the node has, or a number is out of range.",
    "Mend CoreSpecCount or CpuSpecList.",
)
SPEC_MEMORY = fault(
    "memory-kept-back",
    "As much memory is kept back for the system as the node has.",
    "Mend MemSpecLimit; its unit is MiB.",
)
STATE = fault(
    "bad-node-state", "A node's State= is none that Slurm reads.", "Use UNKNOWN or CLOUD."
)
ADDRESS = fault(
    "address-twice", "Two nodes have the same address and port.", "Give each its own NodeAddr."
)
ADDRESSES = fault(
    "address-count",
    "A line has another number of addresses or host names than of nodes.",
    "Make NodeAddr and NodeHostname as long as NodeName.",
)

_LEAST_MIB, _MOST_MIB = 128, 64 * 1024 * 1024  # 64 TiB


@rule
def names(cluster: Cluster) -> Problems:
    """Whether each node is defined, readably, once."""
    if not cluster.nodes and not cluster.slurm.missing:
        dynamic = cluster.slurm.pair("MaxNodeCount")
        if dynamic is None:  # dynamic nodes need no line
            yield NONE("slurm.conf has no NodeName line", cluster.start)
    seen: dict[str, Entity] = {}
    for line in cluster.nodes:
        yield from readable(line.name)
        again = [name for name in line.names if name in seen]
        if again:
            before = seen[again[0]].name.where
            message = f"{_some(again)} stands at line {before.line} of {before.file} already"
            yield TWICE(message, line.name.value_where, key="NodeName")
        seen.update(dict.fromkeys(line.names, line))


def readable(pair: Pair) -> Problems:
    """Say where a host list is broken."""
    for word in split_hosts(pair.value):
        try:
            expand(word)
        except HostlistError as error:
            column = pair.value_where.column + max(0, pair.value.find(word)) + error.position
            place = pair.value_where.replace(column=column)
            yield HOSTS(f"{pair.key}={pair.value}: {error.message}", place, key=pair.key)


@rule
def cpus(cluster: Cluster) -> Problems:
    """Whether CPUs agree with sockets, cores and threads."""
    for line in cluster.nodes:
        pair = line.pair("CPUs", "Procs")
        said = line.number("CPUs", line.number("Procs"))
        if said is None or line.sockets is None or "corespersocket" not in line.values:
            continue
        cores = line.sockets * line.cores_per_socket
        # Slurm takes threads, cores or sockets as its CPUs (slurm.conf(5), CPUs).
        if said not in (line.cores_product, cores, line.sockets):
            message = (
                f"{pair.key}={said}, and {line.sockets} sockets x {line.cores_per_socket} cores"
                f" x {line.threads} threads are {line.cores_product}"
            )
            yield CPUS(message, pair.value_where, key=pair.key)


@rule
def memory(cluster: Cluster) -> Problems:
    """Whether memory is likely."""
    by_memory = "memory" in cluster.slurm.value("SelectTypeParameters").lower()
    for line in cluster.nodes:
        pair = line.values.get("realmemory")
        mib = line.number("RealMemory")
        if pair is None and by_memory and line.value("State").upper() != "FUTURE":
            yield NO_MEMORY(f"{line.name.value} has no RealMemory", line.name.where)
        elif pair and mib is not None and not _LEAST_MIB <= mib <= _MOST_MIB:
            yield MEMORY(f"RealMemory={mib} is {_size(mib)}", pair.value_where, key=pair.key)
        limit = line.values.get("memspeclimit")
        kept = line.number("MemSpecLimit")
        if limit and kept is not None and mib is not None and kept >= mib:
            message = f"MemSpecLimit={kept} of RealMemory={mib}"
            yield SPEC_MEMORY(message, limit.value_where, key=limit.key)


@rule
def kept_back(cluster: Cluster) -> Problems:
    """Whether cores that are kept back exist."""
    for line in cluster.nodes:
        count, pair = line.number("CoreSpecCount"), line.values.get("corespeccount")
        if pair and count is not None and count >= line.cores:
            message = f"CoreSpecCount={count} of {line.cores} cores"
            yield SPEC(message, pair.value_where, key=pair.key)
        pair = line.values.get("cpuspeclist")
        if pair is None:
            continue
        numbers = spans(pair.value)
        if numbers is None:
            yield SPEC(f"cannot read {pair.key}={pair.value}", pair.value_where, key=pair.key)
        elif max(numbers) >= line.cores_product:
            message = f"{pair.key}={pair.value}, and the last CPU is {line.cores_product - 1}"
            yield SPEC(message, pair.value_where, key=pair.key)


@rule
def states(cluster: Cluster) -> Problems:
    """Whether nodes start in a state that exists."""
    for line in cluster.nodes:
        pair = line.values.get("state")
        if pair and pair.value.split("+")[0].upper() not in NODE_STATES:
            yield STATE(f"State={pair.value}", pair.value_where, key="State")


@rule
def addresses(cluster: Cluster) -> Problems:
    """Whether each node has an address of its own."""
    seen: dict[tuple[str, str], str] = {}
    for line in cluster.nodes:
        for key in ("NodeAddr", "NodeHostname"):
            pair = line.own.get(key.lower())
            if pair is None or not line.names:
                continue
            yield from readable(pair)
            found = hosts(pair.value)
            if len(found) not in (len(line.names), 0):
                message = f"{len(found)} for {len(line.names)} nodes"
                yield ADDRESSES(f"{key}={pair.value}: {message}", pair.value_where, key=key)
            elif key == "NodeAddr":
                port = line.value("Port")
                for name, address in zip(line.names, found, strict=False):
                    before = seen.setdefault((address, port), name)
                    if before != name and before in cluster.by_node and not _ports(line):
                        message = f"{name} has {address}, as {before}"
                        yield ADDRESS(message, pair.value_where, key=key)
                        break


def _ports(line: Entity) -> bool:
    """Return whether a line gives its nodes several ports."""
    return "[" in line.value("Port")


def spans(text: str) -> frozenset[int] | None:
    """Return the numbers of ``0-3,8``; None where it is no such text, or has the kernel's steps."""
    try:
        found = parse_cpulist(text)
    except UsageError:
        return None
    return found if found and ":" not in text else None


def _some(names_: list[str]) -> str:
    more = len(names_) - 1
    return names_[0] if not more else f"{names_[0]} (and {more} more)"


def _size(mib: int) -> str:
    return f"{mib / 1024 / 1024:.0f} TiB" if mib >= 1 << 20 else f"{mib} MiB"
