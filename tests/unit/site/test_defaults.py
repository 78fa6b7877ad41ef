"""The site that a live cluster stands for when nobody has described it."""

from slurmkit.limits import Limits, NodeShape, PartitionLimits
from slurmkit.site.defaults import found_on, from_limits
from slurmkit.site.describe import describe
from slurmkit.site.models import NodeType, Partition

GPU = NodeShape(("g1", "g2"), cpus=112, memory_mib=2_048_000, gpus=8, gpu_type="h100")
CPU = NodeShape(("c1",), cpus=64, memory_mib=262_144)
BIG = NodeShape(("c2",), cpus=64, memory_mib=1_048_576)
DOWN = NodeShape(("g3",), cpus=1, memory_mib=1, usable=False)
LIMITS = Limits(
    cluster="alpha",
    version=(22, 5),
    partitions={
        "gpu": PartitionLimits("gpu", default=True, nodes=(GPU, DOWN)),
        "cpu": PartitionLimits("cpu", nodes=(CPU,)),
        "mixed": PartitionLimits("mixed", nodes=(GPU, CPU, BIG)),
        "down": PartitionLimits("down", nodes=(DOWN,)),
        "empty": PartitionLimits("empty"),
    },
)


def test_partitions_and_node_types() -> None:
    site = from_limits(LIMITS)
    assert site.name == "alpha"
    assert site.node_types == {
        "h100x8-112cpu": NodeType(gpus=8, gpu_type="h100", cpus=112, memory="2000G"),
        "64cpu": NodeType(cpus=64, memory="256G"),
        "64cpu-1T": NodeType(cpus=64, memory="1T"),
        "1cpu": NodeType(cpus=1, memory="1M"),
    }
    assert site.partitions == {
        "gpu": Partition(node_type="h100x8-112cpu", default=True),
        "cpu": Partition(node_type="64cpu"),
        "mixed": Partition(),
        "down": Partition(node_type="1cpu"),
        "empty": Partition(),
    }


def test_equal_names_are_told_apart() -> None:
    shapes = tuple(
        NodeShape((f"n{index}",), cpus=4, memory_mib=1024, gpus=gpus, gpu_type=kind)
        for index, (gpus, kind) in enumerate([(1, ""), (1, "gpu"), (1, "gpux1-4cpu")])
    )
    partitions = {str(i): PartitionLimits(str(i), nodes=(shape,)) for i, shape in enumerate(shapes)}
    site = from_limits(Limits(cluster="", version=(22, 5), partitions=partitions))
    assert len(site.node_types) == 3
    assert site.name == "default"


def test_a_cluster_without_partitions() -> None:
    site = from_limits(Limits(cluster="a", version=(22, 5), partitions={}))
    assert (site.partitions, site.node_types) == ({}, {})


def test_describe_tells_the_clusters_word_from_defaults() -> None:
    described = describe(found_on(LIMITS))
    assert (described["path"], described["origin"]) == (None, "cluster")
    keys = described["keys"]
    assert keys["name"]["from"] == "the live cluster"
    assert keys["node_types.64cpu.cpus"] == {"value": 64, "from": "the live cluster"}
    assert keys["run_root"]["from"] == "default"
    assert keys["partitions.gpu.default_time"]["from"] == "default"
