"""gres.conf lines for a node's GPUs, for a cluster without AutoDetect=nvml.

Source: gres.conf(5). `Cores` are Slurm's own core numbers (sockets in order, cores within, threads
not counted), not the kernel's CPU ids; on a node with interleaved ids the two differ.
"""

import re

from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.model import Gpu, Topology


def gres_lines(topology: Topology, node_name: str = "", gpu_type: str | None = None) -> list[str]:
    """Return one line for each run of GPUs that share type and cores.

    Args:
        topology: the node.
        node_name: a NodeName= (a hostlist is fine) to begin each line with, or "".
        gpu_type: Type of all GPUs, "" for none; None reads it from each GPU's name.
    """
    core_numbers = _core_numbers(topology)
    lines: list[tuple[str, str, list[int]]] = []
    for gpu in topology.gpus:
        kind = gres_type(gpu) if gpu_type is None else gpu_type
        cores = _cores(topology, gpu, core_numbers)
        minor = gpu.index if gpu.minor is None else gpu.minor
        if lines and lines[-1][:2] == (kind, cores):
            lines[-1][2].append(minor)
        else:
            lines.append((kind, cores, [minor]))
    return [_line(node_name, *line) for line in lines]


def _line(node_name: str, kind: str, cores: str, minors: list[int]) -> str:
    span = format_cpulist(minors)
    file = f"/dev/nvidia{span}" if span.isdigit() else f"/dev/nvidia[{span}]"
    words = [f"NodeName={node_name}"] if node_name else []
    words += ["Name=gpu"]
    words += [f"Type={kind}"] if kind else []
    words += [f"File={file}"]
    words += [f"Cores={cores}"] if cores else []
    return " ".join(words)


def gres_type(gpu: Gpu) -> str:
    """Return a Type such as h100 of ``NVIDIA H100 80GB HBM3``: the model word of its name."""
    words = re.findall(r"[A-Za-z]+[0-9]+[A-Za-z0-9]*", gpu.name)
    return str(words[0]).lower() if words else ""


def _core_numbers(topology: Topology) -> dict[tuple[int, ...], int]:
    """Return Slurm's number of each core: by NUMA node, then by first CPU."""
    groups = topology.smt or tuple((cpu,) for cpu in sorted(topology.cpus_online))
    place = {cpu: node.index for node in topology.numa for cpu in node.cpus}
    ordered = sorted(groups, key=lambda group: (place.get(group[0], 0), group[0]))
    return {group: number for number, group in enumerate(ordered)}


def _cores(topology: Topology, gpu: Gpu, numbers: dict[tuple[int, ...], int]) -> str:
    node = topology.numa_node(gpu.numa)
    if node is None:
        return ""
    return format_cpulist(
        number for group, number in numbers.items() if any(cpu in node.cpus for cpu in group)
    )
