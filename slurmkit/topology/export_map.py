"""The map of the SPANK plugin: which CPUs, memory and NICs belong to each GPU of this node.

The line format is described in docs/reference/plugin-map.md; plugins/spank/affinity/map.c reads it.
"""

from slurmkit.errors import UsageError
from slurmkit.topology.affinity import RankPlan, Request, plan_ranks
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.model import Gpu, Topology

_ENV_DIVIDER = "\x1f"
_POLICIES = {"local": "preferred", "bind": "bind", "interleave": "interleave"}


def plugin_map(topology: Topology, request: Request | None = None) -> str:
    """Return the map's text: the plan of one rank per GPU, a line each.

    Args:
        topology: the node; every GPU needs a PCI address.
        request: how to plan; one rank per GPU, nearest, when None.

    Raises:
        UsageError: when a GPU's address is unknown, or a value cannot stand in the line format.
    """
    lines = [f"slurmkit-map 1 {topology.host}"]
    if topology.gpus:
        plans = plan_ranks(topology, request or Request(num_ranks=len(topology.gpus)))
        lines += [_line(gpu, plan) for plan in plans for gpu in plan.gpus]
    return "".join(f"{line}\n" for line in lines)


def _line(gpu: Gpu, plan: RankPlan) -> str:
    if not gpu.pci:
        raise UsageError(
            f"GPU {gpu.index} has no known PCI address, which the plugin's map needs",
            hint="Export from discovery on the node; this profile does not know it.",
        )
    words = ["gpu", str(gpu.index), gpu.pci, f"cpus={format_cpulist(plan.cpus)}"]
    if plan.memory_nodes:
        words.append(f"mems={format_cpulist(plan.memory_nodes)}")
        words.append(f"policy={_POLICIES[plan.memory]}")
    if gpu.minor is not None and gpu.minor != gpu.index:
        words.append(f"minor={gpu.minor}")
    words += [f"uuid={gpu.uuid}"] if gpu.uuid else []
    words += [f"mig={','.join(mig.uuid for mig in gpu.mig)}"] if gpu.mig else []
    words += [f"nics={','.join(nic.name for nic in plan.nics)}"] if plan.nics else []
    if plan.env:
        entries = [f"{name}={value}" for name, value in sorted(plan.env.items())]
        if any(_ENV_DIVIDER in entry or "\n" in entry for entry in entries):
            raise UsageError("a variable of the plan holds a line break, which the map cannot say")
        words.append(f"env={_ENV_DIVIDER.join(entries)}")
    return " ".join(words)
