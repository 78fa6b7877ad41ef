"""topology.conf, or topology.yaml where the release knows it, of a fabric.

topology.conf(5) and topology.yaml(5): blocks (``topology/block``) exist since 23.11, topology.yaml
since 25.05; where it exists, topology.conf is not read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from slurmkit.hostlist import compress
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import SwitchGraph
from slurmkit.topology.fabric.hierarchy import Hierarchy, Unit, hierarchy

Kind = Literal["auto", "tree", "block"]

_BLOCKS_SINCE = "23.11"
_YAML_SINCE = "25.05"
_HEAD = "# Which nodes are near each other; written by slurmkit from the fabric, not by hand.\n"


class KnowsRelease(Protocol):
    """A release of Slurm, such as slurmkit.site.generate's Release."""

    def at_least(self, other: str, /) -> bool:
        """Return whether it is ``other`` or newer."""


def slurm_topology(
    graph: SwitchGraph,
    release: KnowsRelease,
    kind: Kind = "auto",
    block_sizes: Sequence[int] = (),
) -> dict[str, str]:
    """Return the file that tells Slurm of a fabric: its name and text; nothing for no fabric.

    Args:
        graph: the fabric, its hosts named as Slurm's nodes are.
        release: whose form to write.
        kind: ``tree``, ``block``, or what fits: blocks where there are some and they are known.
        block_sizes: BlockSizes; () for the size of the smallest block.

    Raises:
        FabricError: a node would stand in two blocks, or sizes do not fit the blocks.
    """
    if not graph.attachments and not graph.blocks:
        return {}
    blocks = _blocks(graph, release, kind)
    if blocks:
        sizes = _sizes(blocks, block_sizes)
    if release.at_least(_YAML_SINCE):
        parts = []
        if blocks:
            parts.append(_yaml_blocks(blocks, sizes, default=True))
        if graph.attachments or not blocks:
            parts.append(_yaml_tree(hierarchy(graph), default=not blocks))
        return {"topology.yaml": _HEAD + "---\n" + "".join(parts)}
    text = _conf_blocks(blocks, sizes) if blocks else _conf_tree(hierarchy(graph))
    return {"topology.conf": _HEAD + text}


def topology_plugin(graph: SwitchGraph, release: KnowsRelease, kind: Kind = "auto") -> list[str]:
    """Return the line of slurm.conf that makes Slurm read it; topology.yaml needs none."""
    if release.at_least(_YAML_SINCE) or not (graph.attachments or graph.blocks):
        return []
    return [f"TopologyPlugin=topology/{'block' if _blocks(graph, release, kind) else 'tree'}"]


_Blocks = Mapping[str, tuple[str, ...]]


def check_blocks(graph: SwitchGraph, kind: Kind = "auto", block_sizes: Sequence[int] = ()) -> None:
    """See to it that a release which knows blocks takes those of a fabric.

    Raises:
        FabricError: as for slurm_topology.
    """
    if blocks := _wanted_blocks(graph, kind):
        _sizes(blocks, block_sizes)


def _blocks(graph: SwitchGraph, release: KnowsRelease, kind: Kind) -> _Blocks:
    """Return the blocks to write; none where a tree is to be written."""
    return _wanted_blocks(graph, kind) if release.at_least(_BLOCKS_SINCE) else {}


def _wanted_blocks(graph: SwitchGraph, kind: Kind) -> _Blocks:
    if kind == "tree":
        return {}
    if kind == "block" and not graph.blocks:
        raise FabricError(
            "blocks are asked for, and none are named",
            hint="name them in a table with a column 'block', or under switches.blocks",
        )
    seen: dict[str, str] = {}
    for name, hosts in graph.blocks:
        for host in hosts:
            if host in seen:
                raise FabricError(f"{host} stands in the blocks {seen[host]} and {name}")
            seen[host] = name
    return dict(graph.blocks)


def _sizes(blocks: _Blocks, asked: Sequence[int]) -> list[int]:
    smallest = min(len(hosts) for hosts in blocks.values())
    sizes = list(asked) or [smallest]
    if sizes[0] > smallest:
        name = next(name for name, hosts in blocks.items() if len(hosts) == smallest)
        raise FabricError(
            f"block size {sizes[0]}: block {name} has {smallest} nodes only",
            hint="every block needs as many nodes as the first block size (topology.conf(5))",
        )
    for size in sizes[1:]:
        factor, rest = divmod(size, sizes[0])
        if rest or factor & (factor - 1) or factor < 2:
            raise FabricError(
                f"block size {size} is not {sizes[0]} times a power of two",
                hint=f"such as {sizes[0] * 2} or {sizes[0] * 4}",
            )
    return sizes


def _conf_blocks(blocks: _Blocks, sizes: Sequence[int]) -> str:
    lines = [f"BlockName={name} Nodes={compress(hosts)}\n" for name, hosts in blocks.items()]
    return "".join(lines) + f"BlockSizes={','.join(map(str, sizes))}\n"


def _conf_tree(tree: Hierarchy) -> str:
    lines = []
    for unit in tree.units:
        lines += [f"# {words}\n" for words in _about(unit)]
        below = f"Nodes={compress(unit.hosts)}" if unit.hosts else f"Switches={_list(unit)}"
        lines.append(f"SwitchName={unit.name} {below}\n")
    return "".join(lines)


def _yaml_tree(tree: Hierarchy, *, default: bool) -> str:
    lines = ["- topology: tree\n", f"  cluster_default: {_word(default)}\n", "  tree:\n"]
    lines.append("    switches:\n")
    for unit in tree.units:
        lines += [f"      # {words}\n" for words in _about(unit)]
        lines.append(f'      - switch: "{unit.name}"\n')
        below = f'nodes: "{compress(unit.hosts)}"' if unit.hosts else f'children: "{_list(unit)}"'
        lines.append(f"        {below}\n")
    return "".join(lines)


def _yaml_blocks(blocks: _Blocks, sizes: Iterable[int], *, default: bool) -> str:
    lines = ["- topology: block\n", f"  cluster_default: {_word(default)}\n", "  block:\n"]
    lines += ["    block_sizes:\n", *(f"      - {size}\n" for size in sizes), "    blocks:\n"]
    for name, hosts in blocks.items():
        lines += [f'      - block: "{name}"\n', f'        nodes: "{compress(hosts)}"\n']
    return "".join(lines)


def _list(unit: Unit) -> str:
    return compress(unit.children)


def _about(unit: Unit) -> list[str]:
    """Return which real switches a unit stands for, where its name does not say so."""
    if len(unit.switches) < 2:
        return []
    return [f"{unit.name} stands for {compress(unit.switches, sort=True)}"]


def _word(value: bool) -> str:
    return "true" if value else "false"
