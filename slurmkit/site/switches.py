"""The key ``switches`` of site.yaml: which nodes are near each other, as Slurm is told of it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from slurmkit.hostlist import compress, expand
from slurmkit.site.generate.release import Release
from slurmkit.site.switch_models import Leaf, Spine, Switches
from slurmkit.topology.fabric.graph import Attachment, SwitchGraph, cable, natural
from slurmkit.topology.fabric.slurm import check_blocks, slurm_topology, topology_plugin

if TYPE_CHECKING:
    from slurmkit.site.models import Site


def graph_of(switches: Switches) -> SwitchGraph:
    """Return the fabric that a site describes.

    Raises:
        HostlistError: nodes are no host list.
    """
    attachments = [
        Attachment(host, switch, "", f"switches.leaves.{names}")
        for names, leaf in switches.leaves.items()
        for switch in expand(names)
        for host in expand(leaf.nodes)
    ]
    levels: list[Mapping[str, Leaf | Spine]] = [switches.leaves, switches.spines]
    cables = [
        cable(name, above)
        for level in levels
        for names, one in level.items()
        for name in expand(names)
        for above in expand(one.up or "")
    ]
    return SwitchGraph(tuple(attachments), tuple(dict.fromkeys(cables)), _blocks(switches))


def _blocks(switches: Switches) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, tuple(expand(hosts))) for name, hosts in switches.blocks.items())


def check_switches(switches: Switches) -> None:
    """See to it that the blocks fit; no tree is made for it, as every job reads its site.

    Raises:
        FabricError: Slurm would not take them.
    """
    if switches.topology != "none":
        check_blocks(
            SwitchGraph(blocks=_blocks(switches)), switches.topology, tuple(switches.block_sizes)
        )


def section_of(graph: SwitchGraph) -> dict[str, object]:
    """Return what to write under `switches` in site.yaml for a fabric."""
    nodes: dict[str, dict[str, None]] = {}
    for item in graph.attachments:
        nodes.setdefault(item.switch, {})[item.host] = None
    depth = _depths(graph, set(nodes))
    up: dict[str, list[str]] = {}
    for one in graph.cables:
        lower, upper = sorted((one.one, one.other), key=lambda name: (depth[name], natural(name)))
        up.setdefault(lower, []).append(upper)
    section: dict[str, object] = {}
    if nodes:
        found = {
            name: (_sorted_list(nodes[name]), _sorted_list(up.get(name, ())))
            for name in sorted(nodes, key=natural)
        }
        section["leaves"] = {
            names: {"nodes": hosts, **({"up": above} if above else {})}
            for names, (hosts, above) in _together(found)
        }
    if spines := sorted(up.keys() - nodes.keys(), key=natural):
        above_spines = {name: ("", _sorted_list(up[name])) for name in spines}
        section["spines"] = {names: {"up": above} for names, (_, above) in _together(above_spines)}
    if graph.blocks:
        section["blocks"] = {name: compress(hosts) for name, hosts in graph.blocks}
    return section


def _together(found: Mapping[str, tuple[str, str]]) -> list[tuple[str, tuple[str, str]]]:
    """Return the switches that have the same cables as one host list each."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, cables in found.items():
        groups.setdefault(cables, []).append(name)
    return [(compress(names), cables) for cables, names in groups.items()]


def _sorted_list(names: Iterable[str]) -> str:
    return compress(sorted(names, key=natural))


def _depths(graph: SwitchGraph, leaves: set[str]) -> dict[str, int]:
    """Return how many cables each switch is away from a leaf."""
    depth = dict.fromkeys(leaves, 0)
    neighbours = graph.neighbours()
    edge = leaves
    while edge:
        edge = {near for name in edge for near in neighbours.get(name, ())} - depth.keys()
        depth.update(dict.fromkeys(edge, max(depth.values(), default=0) + 1))
    return {name: depth.get(name, 0) for name in graph.switches}


def topology_files(site: "Site", release: Release) -> dict[str, str]:
    """Return name and text of the file below /etc/slurm that tells Slurm of the fabric.

    Raises:
        FabricError: what is described makes no topology.
    """
    switches = site.switches
    if switches is None or switches.topology == "none":
        return {}
    return slurm_topology(
        graph_of(switches), release, switches.topology, tuple(switches.block_sizes)
    )


def slurm_conf_lines(site: "Site", release: Release) -> list[str]:
    """Return the lines of slurm.conf that belong to it."""
    switches = site.switches
    if switches is None or switches.topology == "none":
        return []
    return topology_plugin(graph_of(switches), release, switches.topology)
