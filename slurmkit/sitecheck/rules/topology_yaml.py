"""topology.yaml, which Slurm 25.05 and newer read before topology.conf."""

from functools import partial
from typing import Any

import yaml

from slurmkit.errors import Location
from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster, hosts
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.rules.topology import MISSING, NODE, OVERLAP, TWICE, UNKNOWN

fault = partial(registry.fault, group="Topology")

SYNTAX = fault("topology-yaml-syntax", "topology.yaml is no YAML list of topologies.", "Mend it.")
RELEASE = fault(
    "topology-yaml-release",
    "This release does not read topology.yaml; 25.05 is the first that does.",
    "Write topology.conf, or generate the site for the release that runs.",
)
BOTH = fault(
    "topology-yaml-and-conf",
    "topology.conf is not read where there is a topology.yaml.",
    "Remove topology.conf.",
    warning=True,
)
KIND = fault(
    "topology-yaml-kind",
    "A topology is of none, or of several, of the kinds tree, block, flat, ring and torus3d.",
    "Give each topology one.",
)
PARTITION = fault(
    "unknown-topology", "A partition names a topology that topology.yaml lacks.", "Mend the name."
)

_KINDS = ("tree", "block", "flat", "ring", "torus3d")
#: The list of each kind, and the word that names its entries.
_LISTS = {"tree": ("switches", "switch"), "block": ("blocks", "block"), "ring": ("rings", "ring")}
Node = Any  # yaml.Node; PyYAML has no types


@rule
def topology_yaml(cluster: Cluster) -> Problems:
    """Whether topology.yaml is read, readable, and about the nodes that there are."""
    found = cluster.candidate.conf("topology.yaml")
    if found is None:
        return
    file = found[1]
    if not cluster.release.at_least("25.05"):
        yield RELEASE(f"this is Slurm {cluster.release}", Location(file.shown, 1, 1))
        return
    conf = cluster.conf("topology.conf")
    if conf:
        yield BOTH(f"{conf.shown} is not read", Location(conf.shown, 1, 1))
    try:
        root = yaml.compose(file.text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = Location(file.shown, mark.line + 1, mark.column + 1) if mark else None
        yield SYNTAX(str(getattr(error, "problem", "") or error), where)
        return
    if not isinstance(root, yaml.SequenceNode):
        yield SYNTAX("it is no list", Location(file.shown, 1, 1))
        return
    names: set[str] = set()
    for entry in root.value:
        keys = _mapping(entry)
        names |= {keys["topology"].value} if "topology" in keys else set()
        yield from _topology(cluster, file.shown, entry)
    for line in cluster.partitions:
        pair = line.values.get("topology")
        if pair and pair.value not in names:
            yield PARTITION(f"there is no topology {pair.value}", pair.value_where, key="Topology")


def _topology(cluster: Cluster, shown: str, entry: Node) -> Problems:
    keys = _mapping(entry)
    if "topology" not in keys:
        yield SYNTAX("a topology without the key topology", _place(shown, entry))
        return
    kinds = [kind for kind in _KINDS if kind in keys]
    if len(kinds) == 1:
        yield from _members(cluster, shown, kinds[0], keys[kinds[0]])
    else:
        said = " and ".join(kinds) or "none"
        yield KIND(f"{keys['topology'].value} is {said}", _place(shown, entry))


def _members(cluster: Cluster, shown: str, kind: str, body: Node) -> Problems:
    if kind not in _LISTS:
        return
    key, word = _LISTS[kind]
    entries = _mapping(body).get(key)
    if entries is None or not isinstance(entries, yaml.SequenceNode):
        yield SYNTAX(f"{kind} has no list {key}", _place(shown, body))
        return
    defined = {_mapping(entry)[word].value for entry in entries.value if word in _mapping(entry)}
    seen: dict[str, str] = {}
    names: set[str] = set()
    for entry in entries.value:
        keys = _mapping(entry)
        if word not in keys:
            yield SYNTAX(f"an entry of {key} without {word}", _place(shown, entry))
            continue
        name = keys[word].value
        if name in names:
            yield TWICE(f"{name} stands there already", _place(shown, keys[word]))
        names.add(name)
        nodes = hosts(keys["nodes"].value) if "nodes" in keys else []
        missing = [node for node in nodes if node not in cluster.by_node]
        again = [node for node in nodes if node in seen]
        if missing and cluster.nodes:
            yield NODE(f"slurm.conf defines no node {missing[0]}", _place(shown, keys["nodes"]))
        if again:
            message = f"{again[0]} is on {seen[again[0]]} already"
            yield OVERLAP(message, _place(shown, keys["nodes"]))
        seen.update(dict.fromkeys(nodes, name))
        lost = (
            [c for c in hosts(keys["children"].value) if c not in defined]
            if "children" in keys
            else []
        )
        if lost:
            yield UNKNOWN(f"there is no switch {lost[0]}", _place(shown, keys["children"]))
    left = [node for node in cluster.by_node if node not in seen]
    if left and not cluster.slurm.has("TopologyParam", "TopoOptional"):
        where = cluster.by_node[left[0]].name.value_where
        yield MISSING(f"{left[0]}: not in {shown}", where, key="NodeName")


def _mapping(node: Node) -> dict[str, Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value}


def _place(shown: str, node: Node) -> Location:
    return Location(shown, node.start_mark.line + 1, node.start_mark.column + 1)
