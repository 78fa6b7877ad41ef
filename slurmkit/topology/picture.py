"""The node as text: what hangs where, how near each NIC is to each GPU, what a mistake costs."""

from slurmkit.topology.bandwidth import format_bandwidth, nearest_nics, wrong_binding_costs
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.distance import distance
from slurmkit.topology.model import DISTANCES, Gpu, Nic, NumaNode, Topology

# Near is green, far is red, on a terminal.
_COLOURS = dict(zip(DISTANCES, ("32", "32;2", "33", "33", "31"), strict=True))


def draw(topology: Topology, *, colour: bool = False) -> list[str]:
    """Return the picture's lines.

    Args:
        topology: the node.
        colour: use ANSI colours for the classes.
    """
    lines = [_headline(topology), ""]
    for node in topology.numa:
        lines += _numa(topology, node, colour)
    homeless = [gpu for gpu in topology.gpus if topology.numa_node(gpu.numa) is None]
    strays = [nic for nic in topology.nics if topology.numa_node(nic.numa) is None]
    if homeless or strays:
        lines += ["NUMA node unknown"]
        lines += _body(topology, homeless, strays, colour)
    if topology.gpus and topology.nics:
        lines += _matrix(topology, colour)
    costs = wrong_binding_costs(topology) if topology.gpus else []
    if costs:
        lines += ["", "A wrong binding costs (from the topology, not measured)"]
        lines += [f"  - {cost}" for cost in costs]
    if topology.notes:
        lines += ["", "Notes", *(f"  - {note}" for note in topology.notes)]
    for title, entries in (("Unknown", topology.unknown), ("Not certain", topology.synthetic)):
        lines += ["", f"{title}: {', '.join(entries)}"] if entries else []
    return lines


def _headline(topology: Topology) -> str:
    cores = len(topology.smt) or len(topology.cpus_online)
    threads = max((len(group) for group in topology.smt), default=1)
    per_core = f", {threads} threads each" if threads > 1 else ""
    return (
        f"{topology.host} ({topology.source}): {_count(len(topology.gpus), 'GPU')}, "
        f"{_count(len(topology.nics), 'NIC')}, {_count(cores, 'core')}{per_core}, "
        f"{_count(len(topology.numa), 'NUMA node')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def describe_numa(topology: Topology, node: NumaNode) -> str:
    """Return a NUMA node's cores and memory in a few words."""
    cores = sum(1 for group in topology.smt if group[0] in node.cpus) or len(node.cpus)
    cpus = f"{_count(cores, 'core')}, CPUs {format_cpulist(node.cpus)}" if node.cpus else "no CPUs"
    memory = "unknown memory" if node.memory_mib is None else f"{node.memory_mib / 1024:.0f} GiB"
    return f"{cpus}; {memory}"


def _numa(topology: Topology, node: NumaNode, colour: bool) -> list[str]:
    gpus = [gpu for gpu in topology.gpus if gpu.numa == node.index]
    nics = [nic for nic in topology.nics if nic.numa == node.index]
    lines = [f"NUMA node {node.index}: {describe_numa(topology, node)}"]
    return [*lines, *_body(topology, gpus, nics, colour)]


def _body(topology: Topology, gpus: list[Gpu], nics: list[Nic], colour: bool) -> list[str]:
    """Return the branches of one NUMA node: each GPU with its nearest NICs, then other NICs."""
    rows: list[tuple[str, str, str, str]] = []
    shown: set[str] = set()
    for gpu in gpus:
        kind, near = nearest_nics(topology, gpu)
        shown.update(nic.name for nic in near)
        words = " ".join(word for word in (f"GPU {gpu.index}", gpu.pci, gpu.name) if word)
        nic_words = describe_nics(near) if near else "no NIC for collectives"
        rows.append((words, kind, format_bandwidth(gpu, near), nic_words))
    left = [nic for nic in nics if nic.name not in shown]
    width = max((len(row[0]) for row in rows), default=0)
    branches = [
        f"{words:<{width}}  {_paint(f'{kind:<4}', kind, colour)} {bandwidth:>9}  {near_words}"
        for words, kind, bandwidth, near_words in rows
    ]
    branches += [f"{' '.join((nic.name, nic.pci)).strip()}: {describe_role(nic)}" for nic in left]
    if not branches:
        return [""]
    marks = ["├─"] * (len(branches) - 1) + ["└─"]
    return [*(f"  {mark} {branch}" for mark, branch in zip(marks, branches, strict=True)), ""]


def describe_nics(nics: list[Nic]) -> str:
    """Return NICs of one class in a few words: names, rate of each, link layer."""
    names = [nic.name for nic in nics]
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    rates = {nic.rate_gbps for nic in nics}
    rate = next(iter(rates)) if len(rates) == 1 else None
    layers = {port.link_layer for nic in nics for port in nic.ports} - {"unknown"}
    words = [f"{rate:g} Gb/s{' each' if len(nics) > 1 else ''}"] if rate else []
    words += sorted(layers)
    return f"{listed} ({' '.join(words)})" if words else listed


def describe_role(nic: Nic) -> str:
    """Return why collectives do not use a NIC, or that another GPU does."""
    if not nic.active:
        return f"{nic.role}, no active port"
    if nic.role == "compute":
        return "compute, nearest to no GPU of this node"
    return f"{nic.role}, not for collectives ({nic.role_reason})"


def _matrix(topology: Topology, colour: bool) -> list[str]:
    width = max(len(nic.name) for nic in topology.nics)
    header = " " * (width + 2) + " ".join(f"GPU{gpu.index:<3}" for gpu in topology.gpus)
    lines = [header.rstrip()]
    for nic in topology.nics:
        cells = (distance(gpu, nic) for gpu in topology.gpus)
        row = " ".join(_paint(f"{kind:<6}", kind, colour) for kind in cells)
        role = "" if nic.role == "compute" else f" ({nic.role})"
        lines.append(f"{nic.name:<{width}}  {row.rstrip()}{role}")
    return [
        *lines,
        "PIX one PCIe switch, PXB several, PHB through the CPU's host bridge, NODE between host "
        "bridges,",
        "SYS between NUMA nodes",
    ]


def _paint(text: str, kind: str, colour: bool) -> str:
    return f"\033[{_COLOURS[kind]}m{text}\033[0m" if colour and kind else text
