"""topology.conf: switches and blocks that hold each node once, and hang together."""

from functools import partial

from slurmkit.errors import Location
from slurmkit.sitecheck import registry, words
from slurmkit.sitecheck.config import Cluster, Entity, entities, hosts, number, words_of
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.rules.nodes import readable
from slurmkit.sitecheck.syntax import Pair

fault = partial(registry.fault, group="Topology")

TWICE = fault("switch-twice", "A switch or block is defined twice.", "Keep one of the lines.")
UNKNOWN = fault(
    "unknown-switch",
    "Switches= names a switch that no line defines.",
    "Define it, or mend the name.",
)
BOTH = fault(
    "switch-of-both",
    "A switch has nodes and switches below it; Slurm refuses that.",
    "Give the nodes to a leaf switch.",
)
EMPTY = fault("switch-empty", "A switch or block has nothing below it.", "Add Nodes= or Switches=.")
NODE = fault(
    "topology-unknown-node",
    "The topology names a node that slurm.conf does not define.",
    "Define the node, or remove it here.",
)
OVERLAP = fault(
    "topology-overlap", "A node hangs on two leaf switches, or is in two blocks.", "Keep one."
)
MISSING = fault(
    "topology-missing-node",
    "A node of slurm.conf is in no switch or block; jobs that span switches cannot use it.",
    "Add it.",
)
LOOP = fault("switch-loop", "Switches hang on each other in a ring.", "Make it a tree.")
PARENTS = fault("switch-two-parents", "A switch hangs on two others.", "Make it a tree.")
APART = fault(
    "topology-apart",
    "The switches make several trees; no job spans two of them.",
    "Add a switch above them.",
    warning=True,
)
PLUGIN = fault(
    "topology-plugin",
    "topology.conf and TopologyPlugin do not fit together.",
    "Set TopologyPlugin=topology/tree or topology/block, or remove the file.",
)
SIZES = fault(
    "block-sizes",
    "BlockSizes= does not grow by powers of two, or a block is smaller than the first.",
    "Write a size, and its multiples by powers of two.",
)


@rule
def fits(cluster: Cluster) -> Problems:
    """Whether the file and the plugin fit together."""
    conf = cluster.conf("topology.conf")
    pair = cluster.slurm.pair("TopologyPlugin")
    plugin = pair.value.removeprefix("topology/") if pair else ""
    has_yaml = cluster.candidate.conf("topology.yaml") is not None
    if has_yaml and cluster.release.at_least("25.05"):
        return  # the plugin is named in there
    if conf is None:
        if plugin in ("tree", "block") and pair:
            message = f"topology/{plugin} needs topology.conf"
            yield PLUGIN(message, pair.value_where, "Add topology.conf.", "TopologyPlugin")
        return
    for starter, wanted in (("SwitchName", "tree"), ("BlockName", "block")):
        for line in conf.starting(starter):
            if plugin != wanted:
                said = f"TopologyPlugin is {plugin}" if plugin else "TopologyPlugin is not set"
                yield PLUGIN(f"{starter} is read by topology/{wanted}; {said}", line.where)
            break


@rule
def switches(cluster: Cluster) -> Problems:
    """Whether switches make a tree."""
    conf = cluster.conf("topology.conf")
    if conf is None:
        return
    found = list(entities(conf, "SwitchName"))
    by_name: dict[str, Entity] = {}
    for entity in found:
        for name in entity.names:
            if name in by_name:
                before = by_name[name].name.where.line
                message = f"{name} stands at line {before} already"
                yield TWICE(message, entity.name.value_where, key="SwitchName")
            by_name.setdefault(name, entity)
        below = [key for key in ("nodes", "switches") if key in entity.values]
        if len(below) == 2:
            pair = entity.values["switches"]
            yield BOTH(f"{entity.name.value} has nodes, too", pair.where, key="Switches")
        elif not below:
            yield EMPTY(f"{entity.name.value} has no Nodes=", entity.name.where)
    yield from _tree(found, by_name)


def _tree(found: list[Entity], by_name: dict[str, Entity]) -> Problems:
    parents: dict[str, str] = {}
    for entity in found:
        pair = entity.values.get("switches")
        for name in hosts(pair.value) if pair else []:
            assert pair
            place = _place_of(pair, name)
            if name not in by_name:
                hint = words.meant(name, by_name)
                yield UNKNOWN(f"there is no switch {name}", place, hint, "Switches")
            elif name in parents and parents[name] != entity.name.value:
                yield PARENTS(f"{name} hangs on {parents[name]} already", place, key="Switches")
            else:
                parents[name] = entity.name.value
    roots = [entity for entity in found if not set(entity.names) & set(parents)]
    for name, parent in parents.items():
        seen, above = {name}, parent
        while above in parents and above not in seen:
            seen.add(above)
            above = parents[above]
        if above == name:
            yield LOOP(f"{name} hangs on itself, by {parent}", by_name[name].name.value_where)
            return
    if len(roots) > 1:
        names = f"{roots[0].name.value} and {roots[1].name.value}"
        yield APART(f"nothing joins {names}", roots[1].name.value_where, key="SwitchName")


def _place_of(pair: Pair, name: str) -> Location:
    at = next((where for word, where in words_of(pair) if word == name), None)
    return at or pair.value_where


@rule
def members(cluster: Cluster) -> Problems:
    """Whether each node is at one place."""
    conf = cluster.conf("topology.conf")
    if conf is None or not cluster.nodes:
        return
    seen: dict[str, Entity] = {}
    last: Entity | None = None
    for starter in ("SwitchName", "BlockName"):
        for entity in entities(conf, starter):
            last, pair = entity, entity.values.get("nodes")
            if pair is None:
                continue
            yield from readable(pair)
            names = hosts(pair.value)
            if names[:1] == ["ALL"]:
                names = list(cluster.by_node)
            missing = [name for name in names if name not in cluster.by_node]
            if missing:
                message = f"slurm.conf defines no node {missing[0]}"
                yield NODE(message, pair.value_where, key="Nodes")
            again = [name for name in names if name in seen]
            if again:
                before = seen[again[0]].name
                message = f"{again[0]} is on {before.value} (line {before.where.line}) already"
                yield OVERLAP(message, pair.value_where, key="Nodes")
            seen.update(dict.fromkeys(names, entity))
    if last is None or cluster.slurm.has("TopologyParam", "TopoOptional"):
        return
    lost = [name for name in cluster.by_node if name not in seen]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        line = cluster.by_node[lost[0]]
        message = f"{lost[0]}{more}: not in {conf.shown}"
        yield MISSING(message, line.name.value_where, key="NodeName")


@rule
def blocks(cluster: Cluster) -> Problems:
    """Whether block sizes fit the blocks."""
    conf = cluster.conf("topology.conf")
    pair = conf.pair("BlockSizes") if conf else None
    if conf is None:
        return
    seen: dict[str, Entity] = {}
    for entity in entities(conf, "BlockName"):
        if entity.name.value in seen:
            before = seen[entity.name.value].name.where.line
            message = f"{entity.name.value} stands at line {before} already"
            yield TWICE(message, entity.name.value_where, key="BlockName")
        seen[entity.name.value] = entity
    if pair is None:
        return
    sizes = [number(word) for word, _ in words_of(pair)]
    first = sizes[0] if sizes else None
    if not first or any(not _power_of_two(size, first) for size in sizes):
        message = f"BlockSizes={pair.value}: each is the first times a power of two"
        yield SIZES(message, pair.value_where, key="BlockSizes")
        return
    for entity in seen.values():
        nodes = entity.values.get("nodes")
        if nodes and len(hosts(nodes.value)) < first:
            message = f"{entity.name.value} has {len(hosts(nodes.value))} nodes; BlockSizes={first}"
            yield SIZES(message, nodes.value_where, key="Nodes")


def _power_of_two(size: int | None, first: int) -> bool:
    if not size or size % first:
        return False
    factor = size // first
    return factor & (factor - 1) == 0
