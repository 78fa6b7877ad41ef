"""Plans of jobs that are given as values, for tests."""

from typing import Any

from slurmkit.limits import Limits, NodeShape, PartitionLimits
from slurmkit.plan.model import Plan
from slurmkit.plan.planner import Context, make_plan
from slurmkit.site.models import Site
from slurmkit.spec.models import JobSpec

CONTEXT = Context(base_dir="/home/ada/job", run_root="/shared/runs", slurmkit="/opt/slurmkit")
SITE: dict[str, Any] = {
    "partitions": {"gpu": {"node_type": "dgx", "default_time": "12h"}, "cpu": {"default": True}},
    "node_types": {"dgx": {"gpus": 8, "gpu_type": "h100", "cpus": 226}},
}


def plan(
    job: dict[str, Any],
    site: dict[str, Any] | None = None,
    limits: Limits | None = None,
    **context: Any,
) -> Plan:
    spec = JobSpec.model_validate({"name": "demo", "launch": {"command": ["true"]}, **job})
    return make_plan(spec, Site.model_validate(site or {}), limits, CONTEXT._replace(**context))


def directives(*args: Any, **options: Any) -> dict[str, str | None]:
    return {line.option: line.value for line in plan(*args, **options).directives}


def limits(mpi: frozenset[str] = frozenset()) -> Limits:
    small = NodeShape(("c1",), cpus=32, memory_mib=1000)
    gpu = NodeShape(("g1", "g2"), cpus=64, memory_mib=1000, gpus=4, gpu_type="a100")
    partitions = {
        "batch": PartitionLimits("batch", default=True, nodes=(gpu,)),
        "mixed": PartitionLimits("mixed", nodes=(small, gpu)),
    }
    return Limits("here", (22, 5), partitions, mpi_plugins=mpi)
