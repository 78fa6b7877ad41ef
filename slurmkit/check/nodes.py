"""Which nodes of a partition could be part of the job, and what the others lack."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slurmkit.check.constraint import parse
from slurmkit.check.subject import Subject, plural
from slurmkit.limits import NodeShape, PartitionLimits
from slurmkit.units import format_size_mib


@dataclass(frozen=True)
class Need:
    """One thing that every node of the job must have.

    Attributes:
        key: the key of the job file that asks for it.
        words: the need in words, such as ``8 GPUs``.
        met: tells whether nodes of one kind have it.
    """

    key: str
    words: str
    met: Callable[[NodeShape], bool]


def needs_of(subject: Subject, partition: PartitionLimits) -> list[Need]:
    """Return what the job needs of every node; needs that any node meets are left out."""
    return [need for need in _all_needs(subject, partition) if need.words]


def _all_needs(subject: Subject, partition: PartitionLimits) -> Iterator[Need]:
    request, shape = subject.request, subject.request.shape
    cpus = request.cpus_per_node
    yield Need(
        "resources.cpus_per_task" if subject.spec.resources.cpus_per_task else "resources",
        f"{cpus} CPUs" if cpus > 1 else "",
        lambda node: usable_cpus(node, partition) >= cpus,
    )
    memory = request.memory_mib
    yield Need(
        "resources.memory",
        f"{format_size_mib(memory)} of memory" if memory else "",
        lambda node: node.memory_mib >= memory,
    )
    gpus, kind = shape.gpus_per_node, shape.gpu_type
    yield Need(
        "resources.gpus_per_node",
        f"{plural(gpus, f'{kind} GPU'.strip())}" if gpus else "",
        lambda node: node.gpus >= gpus and (not kind or kind in gpu_types(node)),
    )
    if text := request.value("--constraint"):
        constraint = parse(text)
        yield Need(
            "resources.constraint",
            f"the constraint {text!r}",
            lambda node: constraint.accepts(node.features),
        )


def usable_cpus(node: NodeShape, partition: PartitionLimits) -> int:
    """Return how many CPUs of such a node one job may have in the partition."""
    most = partition.max_cpus_per_node
    return node.cpus if most is None else min(node.cpus, most)


def gpu_types(node: NodeShape) -> frozenset[str]:
    """Return the types of a node's GPUs; empty for none and for GPUs without a type."""
    return frozenset(kind for kind in node.gpu_type.split(",") if kind)


def hosts_for(
    subject: Subject, partition: PartitionLimits, needs: list[Need], *, up_only: bool = False
) -> list[str]:
    """Return the hosts of the partition that meet every need and are not excluded."""
    return [
        host
        for node in partition.nodes
        if (node.usable or not up_only) and all(need.met(node) for need in needs)
        for host in node.hosts
        if host not in subject.request.excluded
    ]


def partition_hosts(partition: PartitionLimits) -> list[str]:
    """Return every host of the partition, whatever its state."""
    return [host for node in partition.nodes for host in node.hosts]


def hosts_of_alternative(
    subject: Subject, partition: PartitionLimits, needs: list[Need], feature: str
) -> list[str]:
    """Return the hosts that meet every need and have one feature."""
    alternative = Need("", feature, lambda node: feature in node.features)
    return hosts_for(subject, partition, [*needs, alternative])
