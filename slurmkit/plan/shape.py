"""How many tasks and CPUs a job gets, where and for how long, if its file does not say."""

from slurmkit.plan.inputs import Inputs
from slurmkit.plan.model import Shape
from slurmkit.spec.models import gpu_count, gpu_type


def choose_shape(inputs: Inputs) -> Shape:
    """Return the job's counts; by default one task per GPU, with the GPU's share of the CPUs."""
    resources = inputs.spec.resources
    gpus = gpu_count(resources.gpus_per_node)
    tasks = resources.tasks_per_node or gpus or 1
    cpus = resources.cpus_per_task or _share_of_cpus(inputs, gpus) // tasks
    return Shape(
        num_nodes=resources.nodes,
        num_spares=0 if inputs.context.portable else resources.spares,
        tasks_per_node=tasks,
        cpus_per_task=max(1, cpus),
        gpus_per_node=gpus,
        gpu_type=gpu_type(resources.gpus_per_node),
    )


def choose_partition(inputs: Inputs) -> str | None:
    """Return the partition, or several as ``a,b``; None leaves it to the cluster."""
    site = inputs.site
    named = inputs.spec.resources.partition or site.default_partition
    return named or next((name for name, part in site.partitions.items() if part.default), None)


def choose_time(inputs: Inputs) -> str | int | None:
    """Return the time limit; None leaves it to the cluster."""
    if inputs.spec.resources.time is not None:
        return inputs.spec.resources.time
    for name in (choose_partition(inputs) or "").split(","):
        partition = inputs.site.partitions.get(name)
        if partition is not None and partition.default_time is not None:
            return partition.default_time
    return inputs.site.default_time


def started_per_node(inputs: Inputs, shape: Shape) -> tuple[int, int]:
    """Return how many processes Slurm starts on each node, and the CPUs of each.

    Under torchrun that is one, which starts the ranks and needs the CPUs of all of them.
    """
    if inputs.spec.launch.launcher == "torchrun":
        return 1, shape.tasks_per_node * shape.cpus_per_task
    return shape.tasks_per_node, shape.cpus_per_task


def _share_of_cpus(inputs: Inputs, gpus: int) -> int:
    """Return the CPUs of one node that belong to the job's GPUs; 0 when unknown.

    With several kinds of nodes the smallest share counts, since the job may get any of them.
    """
    wanted = gpu_type(inputs.spec.resources.gpus_per_node)
    shares = [
        cpus // node_gpus * gpus
        for cpus, node_gpus, kind in _node_kinds(inputs)
        if node_gpus >= gpus > 0 and wanted in ("", kind)
    ]
    return min(shares, default=0)


def _node_kinds(inputs: Inputs) -> list[tuple[int, int, str]]:
    """Return (CPUs, GPUs, GPU type) of the nodes the job may get; the site's word comes first."""
    names = (choose_partition(inputs) or "").split(",")
    site, limits = inputs.site, inputs.limits
    kinds = [
        (node_type.cpus, node_type.gpus, node_type.gpu_type)
        for name in names
        if (partition := site.partitions.get(name)) is not None
        and (node_type := site.node_types.get(partition.node_type or "")) is not None
        and node_type.cpus is not None
    ]
    if kinds or limits is None:
        return kinds
    live = [limits.partitions.get(name) if name else limits.default_partition() for name in names]
    nodes = (node for partition in live if partition is not None for node in partition.nodes)
    return [(node.cpus, node.gpus, node.gpu_type) for node in nodes]
