"""A site from what the live cluster says of itself, for clusters that nobody has described."""

from slurmkit.limits import Limits, NodeShape, PartitionLimits
from slurmkit.site.lookup import FoundSite
from slurmkit.site.models import NodeType, Partition, Site
from slurmkit.units import format_size_mib


def found_on(limits: Limits) -> FoundSite:
    """Return the site of a cluster that nobody has described."""
    return FoundSite(from_limits(limits), origin="cluster")


def from_limits(limits: Limits) -> Site:
    """Return the partitions and kinds of nodes of a cluster; all else is a default.

    Only nodes that can be used count, unless none can. A partition with several kinds of nodes
    gets no ``node_type``, since a job may get any of them.
    """
    kinds: dict[str, NodeType] = {}
    partitions = {}
    for name, partition in limits.partitions.items():
        found: set[str] = set()
        for shape in _usable(partition):
            kind = _node_type(shape)
            known = next((known for known, other in kinds.items() if other == kind), None)
            if known is None:
                known = _name(kind, taken=set(kinds))
                kinds[known] = kind
            found.add(known)
        only = found.pop() if len(found) == 1 else None
        partitions[name] = Partition(node_type=only, default=partition.default)
    return Site(
        name=limits.cluster or "default",
        partitions=partitions,
        node_types=kinds,
    )


def _usable(partition: PartitionLimits) -> list[NodeShape]:
    usable = [shape for shape in partition.nodes if shape.usable]
    return usable or list(partition.nodes)


def _node_type(shape: NodeShape) -> NodeType:
    return NodeType(
        gpus=shape.gpus,
        gpu_type=shape.gpu_type,
        cpus=shape.cpus or None,
        memory=format_size_mib(shape.memory_mib) if shape.memory_mib else None,
    )


def _name(kind: NodeType, taken: set[str]) -> str:
    """Return a name that tells kinds apart: ``h100x8-112cpu``, and by memory where it must."""
    gpus = f"{kind.gpu_type or 'gpu'}x{kind.gpus}-" if kind.gpus else ""
    name = f"{gpus}{kind.cpus or 0}cpu"
    if name in taken:
        name = f"{name}-{kind.memory or 0}"
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    return unique
