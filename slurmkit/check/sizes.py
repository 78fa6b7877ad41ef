"""Checks of what one node must hold: CPUs, memory and GPUs."""

from slurmkit.check.nodes import gpu_types, usable_cpus
from slurmkit.check.registry import About, Problems, per_partition
from slurmkit.check.subject import Subject, choices, hosts_text, plural
from slurmkit.limits import NodeShape, PartitionLimits
from slurmkit.units import format_size_mib


@per_partition(
    About(
        "cpus-per-task-over-node",
        "One task's CPUs fit on a node of the partition.",
        "one task wants 64 CPUs; the largest nodes of partition 'batch' have 32 (n[1-4])",
    )
)
def cpus_per_task_over_node(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find tasks that no node can hold."""
    wanted = subject.request.shape.cpus_per_task
    most = _most_cpus(partition)
    if partition.nodes and wanted > most:
        yield subject.problem(
            "resources.cpus_per_task",
            f"one task wants {plural(wanted, 'CPU')}; {_largest(partition, most)}",
            f"Ask for at most {most} per task.",
        )


@per_partition(
    About(
        "cpus-over-node",
        "All tasks of one node fit on it: tasks_per_node times cpus_per_task.",
        "8 tasks of 8 CPUs are 64 CPUs per node; the largest nodes of partition 'batch' have 32 "
        "(n[1-4])",
    )
)
def cpus_over_node(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find sets of tasks that no node can hold though it holds one of them."""
    shape, wanted = subject.request.shape, subject.request.cpus_per_node
    most = _most_cpus(partition)
    if not partition.nodes or wanted <= most or shape.cpus_per_task > most:
        return
    given = subject.spec.resources
    key = "tasks_per_node" if given.tasks_per_node or not given.cpus_per_task else "cpus_per_task"
    yield subject.problem(
        f"resources.{key}",
        f"{plural(shape.tasks_per_node, 'task')} of {plural(shape.cpus_per_task, 'CPU')} are "
        f"{wanted} CPUs per node; {_largest(partition, most)}",
        f"Use at most {most // shape.cpus_per_task} tasks per node, or "
        f"{max(1, most // shape.tasks_per_node)} CPUs per task.",
    )


def _most_cpus(partition: PartitionLimits) -> int:
    return max((usable_cpus(node, partition) for node in partition.nodes), default=0)


def _largest(partition: PartitionLimits, most: int) -> str:
    if partition.max_cpus_per_node == most and all(node.cpus > most for node in partition.nodes):
        return f"partition {partition.name!r} gives a job at most {most} of a node's CPUs"
    largest = [node for node in partition.nodes if usable_cpus(node, partition) == most]
    return _nodes_have(partition, largest, str(most))


def _nodes_have(partition: PartitionLimits, nodes: list[NodeShape], what: str) -> str:
    hosts = hosts_text(host for node in nodes for host in node.hosts)
    return f"the largest nodes of partition {partition.name!r} have {what} ({hosts})"


@per_partition(
    About(
        "memory-over-node",
        "The memory of one node's tasks is there: per node, or per CPU or GPU times their number.",
        "128G per node are more than there is; the largest nodes of partition 'batch' have 64G "
        "(n[1-4])",
    )
)
def memory_over_node(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find memory that no node has."""
    wanted = subject.request.memory_mib
    most = max((node.memory_mib for node in partition.nodes), default=0)
    if not partition.nodes or wanted <= most:
        return
    largest = [node for node in partition.nodes if node.memory_mib == most]
    yield subject.problem(
        "resources.memory",
        f"{_memory_words(subject)} more than there is; "
        f"{_nodes_have(partition, largest, format_size_mib(most))}",
        f"Ask for at most {format_size_mib(most)} per node; 0 takes all of a node.",
    )


@per_partition(
    About(
        "memory-over-limit",
        "The memory of one node's tasks is within MaxMemPerNode of the partition and the cluster.",
        "48G per node are more than partition 'batch' gives one job: MaxMemPerNode is 32G",
    )
)
def memory_over_limit(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find memory that Slurm accepts, and then keeps pending for MaxMemPerLimit."""
    wanted = subject.request.memory_mib
    cluster_most = subject.limits.max_mem_per_node_mib if subject.limits else None
    # A partition's own limit stands in for the cluster's; slurm.conf(5), MaxMemPerNode.
    most = partition.max_mem_per_node_mib or cluster_most
    if most and wanted > most:
        giver = f"partition {partition.name!r}" if partition.max_mem_per_node_mib else "the cluster"
        yield subject.problem(
            "resources.memory",
            f"{_memory_words(subject)} more than {giver} gives one job: "
            f"MaxMemPerNode is {format_size_mib(most)}",
            f"Ask for at most {format_size_mib(most)} per node.",
        )


def _memory_words(subject: Subject) -> str:
    request = subject.request
    total = format_size_mib(request.memory_mib)
    each, _, per = str(subject.spec.resources.memory).partition("/")
    if per == "cpu":
        return f"{each} for each of {request.cpus_per_node} CPUs are {total} per node,"
    if per == "gpu":
        return f"{each} for each of {request.shape.gpus_per_node} GPUs are {total} per node,"
    return f"{total} per node are"


@per_partition(
    About(
        "gpus-over-node",
        "A node of the partition has as many GPUs as are wanted of each.",
        "16 GPUs per node are wanted; the largest nodes of partition 'gpu' have 8 (g[1-2])",
    )
)
def gpus_over_node(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find GPU counts that no node has."""
    wanted = subject.request.shape.gpus_per_node
    most = max((node.gpus for node in partition.nodes), default=0)
    if not partition.nodes or wanted <= most:
        return
    if most == 0:
        others = _partitions_with_gpus(subject, wanted)
        message = f"no node of partition {partition.name!r} has GPUs; {wanted} are wanted of each"
        hint = f"Partitions with them: {others}." if others else "This cluster has no such nodes."
    else:
        largest = [node for node in partition.nodes if node.gpus == most]
        message = (
            f"{plural(wanted, 'GPU')} per node are wanted; "
            f"{_nodes_have(partition, largest, str(most))}"
        )
        hint = f"Ask for at most {most} per node, and more nodes."
    yield subject.problem("resources.gpus_per_node", message, hint)


def _partitions_with_gpus(subject: Subject, wanted: int) -> str:
    everywhere = subject.limits.partitions.values() if subject.limits else ()
    return ", ".join(
        partition.name
        for partition in everywhere
        if any(node.gpus >= wanted for node in partition.nodes)
    )


@per_partition(
    About(
        "gpu-type-unknown",
        "The partition has GPUs of the type that is named.",
        "partition 'gpu' has no GPUs of type 'a10'",
    )
)
def gpu_type_unknown(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find GPU types that the partition lacks."""
    wanted = subject.request.shape.gpu_type
    types = {kind for node in partition.nodes for kind in gpu_types(node)}
    if not wanted or wanted in types or not any(node.gpus for node in partition.nodes):
        return
    if types:
        hint = choices("GPU types", wanted, types)
    else:
        hint = "Its GPUs have no type; name the count alone."
    yield subject.problem(
        "resources.gpus_per_node",
        f"partition {partition.name!r} has no GPUs of type {wanted!r}",
        hint,
    )
