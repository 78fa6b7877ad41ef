"""The CPUs of a node: what is online, SMT siblings, NUMA nodes and their memory."""

from slurmkit.record import Record
from slurmkit.topology.cpuset import parse_cpulist
from slurmkit.topology.model import NumaNode
from slurmkit.topology.sysfs import Tree

_CPU = "sys/devices/system/cpu"
_NODE = "sys/devices/system/node"


class Cpus(Record):
    """What the kernel says about CPUs and memory."""

    online: frozenset[int]
    smt: tuple[tuple[int, ...], ...]
    numa: tuple[NumaNode, ...]
    notes: tuple[str, ...] = ()


def read_cpus(tree: Tree) -> Cpus:
    """Return the CPUs and NUMA nodes of a tree."""
    online = parse_cpulist(tree.read(f"{_CPU}/online") or "")
    smt = _siblings(tree, online)
    numbers = [int(name[4:]) for name in tree.names(_NODE) if _is_node(name)]
    if not numbers:
        node = NumaNode(0, online, _memory_mib(tree.read("proc/meminfo") or ""), (10,))
        return Cpus(online, smt, (node,), ("The kernel has no NUMA nodes: one is assumed.",))
    return Cpus(online, smt, tuple(_numa_node(tree, number) for number in sorted(numbers)))


def _is_node(name: str) -> bool:
    return name.startswith("node") and name[4:].isdigit()


def _numa_node(tree: Tree, number: int) -> NumaNode:
    folder = f"{_NODE}/node{number}"
    distances = tree.read(f"{folder}/distance") or ""
    return NumaNode(
        index=number,
        cpus=parse_cpulist(tree.read(f"{folder}/cpulist") or ""),
        memory_mib=_memory_mib(tree.read(f"{folder}/meminfo") or ""),
        distances=tuple(int(word) for word in distances.split() if word.isdigit()),
    )


def _memory_mib(meminfo: str) -> int | None:
    for line in meminfo.splitlines():
        before, found, after = line.partition("MemTotal:")
        words = after.split()
        if found and words and words[0].isdigit() and "Huge" not in before:
            return int(words[0]) // 1024
    return None


def _siblings(tree: Tree, online: frozenset[int]) -> tuple[tuple[int, ...], ...]:
    """Return each core's CPUs; a file is read once per core, not once per CPU."""
    groups: list[tuple[int, ...]] = []
    seen: set[int] = set()
    for cpu in sorted(online):
        if cpu in seen:
            continue
        text = tree.read(f"{_CPU}/cpu{cpu}/topology/thread_siblings_list")
        if text is None:
            return ()
        group = tuple(sorted((parse_cpulist(text) & online) | {cpu}))
        seen.update(group)
        groups.append(group)
    return tuple(groups)
