"""Which nodes are near each other: a tree in which each node stands once, found from the cables.

Slurm's tree knows one leaf per node. A node of a rail-optimised fabric has a cable to as many
leaves as it has rails, so the nodes with the same set of leaves, a scalable unit, become one leaf
of the tree. Spines that join the same leaves become one switch: listing each of them would make
scheduling slower and no better (Slurm's topology guide).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from slurmkit.hostlist import compress
from slurmkit.record import Record
from slurmkit.topology.fabric.graph import SwitchGraph, natural

_MAX_LEVELS = 16
_LEVELS = {1: "pod", 2: "zone", 3: "hall"}
# A set of leaves that so many times more nodes have is what an odd one was meant to be.
_FAR_MORE = 4


class Unit(Record):
    """One switch of the tree, which stands for one or more real ones.

    Attributes:
        name: a real switch's name where it is one, else one of ours such as ``su1``.
        hosts: the nodes of a leaf; () above.
        children: names of the units below; () for a leaf.
        switches: the real switches that it stands for.
    """

    name: str
    hosts: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()


class Hierarchy(Record):
    """The tree, leaves first.

    Attributes:
        units: each unit after those below it.
        rails: leaf switches that most nodes have cables to: 1 without rails.
        notes: what is odd about the cables, one sentence each.
    """

    units: tuple[Unit, ...] = ()
    rails: int = 1
    notes: tuple[str, ...] = ()

    @property
    def leaves(self) -> tuple[Unit, ...]:
        """The units with nodes."""
        return tuple(unit for unit in self.units if unit.hosts)

    @property
    def roots(self) -> tuple[Unit, ...]:
        """The units that are below no other."""
        below = {name for unit in self.units for name in unit.children}
        return tuple(unit for unit in self.units if unit.name not in below)


_Leaves = frozenset[str]


def hierarchy(graph: SwitchGraph) -> Hierarchy:
    """Return the tree of a fabric; of its blocks, where it has no switches."""
    if not graph.attachments:
        return _of_blocks(graph)
    leaves_of: dict[str, set[str]] = {}
    for item in graph.attachments:
        leaves_of.setdefault(item.host, set()).add(item.switch)
    groups, notes = _groups({host: frozenset(leaves) for host, leaves in leaves_of.items()})
    units = _leaf_units(groups, taken={*graph.switches, *graph.hosts})
    rails = Counter(len(leaves) for leaves in leaves_of.values()).most_common(1)[0][0]
    tree = [*units, *_above(units, graph)]
    found = Hierarchy(tuple(tree), rails, tuple(notes))
    if len(found.roots) > 1:
        names = ", ".join(unit.name for unit in found.roots[:4])
        apart = f"{len(found.roots)} parts of the fabric have no cable to each other: {names}"
        found = found.replace(notes=(*found.notes, f"{apart}; no job can span them"))
    return found


def _of_blocks(graph: SwitchGraph) -> Hierarchy:
    """Return the blocks as leaves under one root, for releases that know no blocks."""
    units = [Unit(name, hosts) for name, hosts in graph.blocks]
    if len(units) > 1:
        taken = {unit.name for unit in units}
        units.append(Unit(_free("fabric", taken), children=tuple(unit.name for unit in units)))
    return Hierarchy(tuple(units))


def _groups(leaves_of: Mapping[str, _Leaves]) -> tuple[dict[_Leaves, list[str]], list[str]]:
    """Return the nodes by the leaves that they have, or were meant to have, and what is odd."""
    by_set: dict[_Leaves, list[str]] = {}
    for host in sorted(leaves_of, key=natural):
        by_set.setdefault(leaves_of[host], []).append(host)
    order = sorted(by_set, key=lambda leaves: (-len(by_set[leaves]), -len(leaves), min(leaves)))
    groups: dict[_Leaves, list[str]] = {}
    notes: list[str] = []
    for leaves in order:
        home = _home(leaves, len(by_set[leaves]), groups)
        if home is None:
            groups[leaves] = list(by_set[leaves])
            continue
        notes.append(_odd(by_set[leaves], leaves, home))
        groups[home] += by_set[leaves]
    return groups, notes


def _home(leaves: _Leaves, count: int, groups: Mapping[_Leaves, list[str]]) -> _Leaves | None:
    """Return the set of leaves that nodes with an odd set belong to, or None if theirs is none."""
    best: tuple[int, int, list[str]] | None = None
    home = None
    for other, hosts in groups.items():
        shared = len(leaves & other)
        within = shared == len(leaves)
        most = 2 * shared > len(leaves) or (
            2 * shared == len(leaves) and len(hosts) >= _FAR_MORE * count
        )
        if not within and not (most and len(hosts) >= _FAR_MORE * count):
            continue
        rank = (shared, len(hosts), sorted(other))
        if best is None or rank > best:
            best, home = rank, other
    return home


def _odd(hosts: Sequence[str], leaves: _Leaves, home: _Leaves) -> str:
    words = f"{compress(hosts)}: cables to {len(leaves & home)} of the {len(home)} leaf switches"
    lacking, besides = sorted(home - leaves, key=natural), sorted(leaves - home, key=natural)
    if lacking:
        words += f", none to {', '.join(lacking)}"
    if besides:
        words += f", and besides to {', '.join(besides)}"
    return words


def _leaf_units(groups: Mapping[_Leaves, list[str]], taken: set[str]) -> list[Unit]:
    ordered = sorted(groups.items(), key=lambda item: natural(min(item[1], key=natural)))
    units = []
    number = 0
    for leaves, hosts in ordered:
        switches = tuple(sorted(leaves, key=natural))
        if len(switches) == 1:
            name = switches[0]
        else:
            number += 1
            name = _free(f"su{number}", taken)
        units.append(Unit(name, tuple(sorted(hosts, key=natural)), (), switches))
    return units


class _Top(Record):
    """The highest unit found so far above some leaves, and the switches within its reach."""

    unit: Unit
    reach: frozenset[str]


def _above(leaves: Sequence[Unit], graph: SwitchGraph) -> list[Unit]:
    """Return the levels above: units whose surroundings meet, one cable further each time, join."""
    neighbours = graph.neighbours()
    taken = {*graph.switches, *graph.hosts, *(unit.name for unit in leaves)}
    tops = [_Top(unit, frozenset(unit.switches)) for unit in leaves]
    built: list[Unit] = []
    for level in range(1, _MAX_LEVELS):
        wider = [
            _Top(top.unit, top.reach.union(*(neighbours[name] for name in top.reach)))
            for top in tops
        ]
        groups = [[wider[index] for index in group] for group in _meeting(wider)]
        if len(tops) == 1 or (wider == tops and len(groups) == len(tops)):
            break
        known = frozenset[str]().union(*(top.reach for top in tops))
        tops = []
        for number, group in enumerate(groups, 1):
            top = _Top(group[0].unit, frozenset[str]().union(*(one.reach for one in group)))
            if len(group) > 1:
                name = "fabric" if len(groups) == 1 else f"{_LEVELS.get(level, level)}{number}"
                top = top.replace(unit=_joint(group, top.reach - known, name, taken))
                built.append(top.unit)
            tops.append(top)
    return built


def _joint(group: Sequence[_Top], switches: frozenset[str], name: str, taken: set[str]) -> Unit:
    """Return the unit above some others; where one real switch joins them, it bears its name."""
    ordered = tuple(sorted(switches, key=natural))
    free = ordered[0] if len(ordered) == 1 else _free(name, taken)
    return Unit(free, (), tuple(top.unit.name for top in group), ordered)


def _meeting(tops: Sequence[_Top]) -> list[list[int]]:
    """Return which of these belong together because a switch is in reach of both, in order."""
    root = list(range(len(tops)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    first: dict[str, int] = {}
    for index, top in enumerate(tops):
        for name in top.reach:
            one, other = find(index), find(first.setdefault(name, index))
            root[max(one, other)] = min(one, other)
    members: dict[int, list[int]] = {}
    for index in range(len(tops)):
        members.setdefault(find(index), []).append(index)
    return list(members.values())


def _free(name: str, taken: set[str]) -> str:
    """Return the name, or one like it that nobody has, and note that it is taken."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    taken.add(free)
    return free
