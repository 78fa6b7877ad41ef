"""The variables that tell NCCL, UCX, Gloo and Open MPI which devices to use, each with its reason.

Sources: NCCL user guide, "Environment Variables", of 2.30.7 (that release added rails and planes to
NCCL_IB_HCA); UCX documentation, "Which network devices does UCX use"; PyTorch, "torch.distributed",
choosing the network interface; ompi_info --all of Open MPI 4.1.
"""

from slurmkit.topology.affinity_nics import rails
from slurmkit.topology.affinity_values import Request
from slurmkit.topology.distance import distance_rank
from slurmkit.topology.model import Nic, Topology

#: Name -> (when it is set, value by example, why). The reference page is made from this.
VARIABLES: dict[str, tuple[str, str, str]] = {
    "CUDA_DEVICE_ORDER": (
        "the rank has a GPU",
        "PCI_BUS_ID",
        "CUDA's own default order is by speed; the plan counts GPUs in PCI order",
    ),
    "NCCL_IB_HCA": (
        "a rank of the node has an HCA (not EFA)",
        "=mlx5_0,mlx5_3",
        "keeps NCCL off storage and management HCAs. All NICs of the node's ranks, equal on each: "
        "NCCL searches one graph per node and takes the nearest itself; ranks that see different "
        "NICs would search different graphs. `=` makes names exact: mlx5_1 alone would match "
        "mlx5_10, too. `:PORT` where an HCA has ports that are down; `:PORT:RAIL:PLANE` for NCCL "
        "2.30.7 or later on rails",
    ),
    "NCCL_NET_GDR_LEVEL": (
        "all GPU-NIC pairs of the node are PHB or nearer",
        "PXB",
        "GPUDirect RDMA for the planned pairs, and none across a longer way; for farther pairs "
        "NCCL decides itself",
    ),
    "NCCL_CROSS_NIC": (
        "the wiring is known",
        "0",
        "0 on rails: the way between two rails is slow; 1 where all NICs meet in one network; "
        "else NCCL's default 2",
    ),
    "NCCL_SOCKET_IFNAME": (
        "the interface is known (several nodes)",
        "=eth0",
        "NCCL's own choice prefers any interface called ib*, also one without a way to the others; "
        "this one leads to MASTER_ADDR",
    ),
    "UCX_NET_DEVICES": (
        "the rank has an HCA (not EFA)",
        "mlx5_0:1",
        "the rank's own NICs: UCX would stripe over every device of the node",
    ),
    "GLOO_SOCKET_IFNAME": (
        "the interface is known (several nodes)",
        "eth0",
        "Gloo takes the interface that the host's name resolves to, on Debian 127.0.1.1",
    ),
    "OMPI_MCA_btl_openib_if_include": (
        "the rank has an HCA (not EFA)",
        "mlx5_0:1",
        "the same for Open MPI 4 without UCX; later releases ignore it",
    ),
    "OMPI_MCA_btl_tcp_if_include": (
        "the interface is known (several nodes)",
        "eth0",
        "Open MPI's TCP transport tries every interface, also docker0 and virbr0",
    ),
}

_RAILS_SINCE = (2, 30, 7)
_GDR_LEVELS = {"PIX": "PXB", "PXB": "PXB", "PHB": "PHB"}


def environment(
    topology: Topology,
    request: Request,
    own: tuple[Nic, ...],
    node: list[tuple[tuple[Nic, ...], str]],
    has_gpu: bool,
) -> dict[str, str]:
    """Return the variables of one rank.

    Args:
        topology: the node.
        request: what was asked for.
        own: the rank's NICs.
        node: NICs and distance of all ranks of the node.
        has_gpu: whether the rank has a GPU.
    """
    env: dict[str, str] = {}
    if has_gpu:
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    everybody = _union(topology, [nics for nics, _ in node])
    if everybody:
        env["NCCL_IB_HCA"] = nccl_ib_hca(topology, request, everybody)
    levels = [kind for _, kind in node if kind]
    if everybody and levels and (farthest := max(levels, key=distance_rank)) in _GDR_LEVELS:
        env["NCCL_NET_GDR_LEVEL"] = _GDR_LEVELS[farthest]
    if everybody and request.cross_node:
        env["NCCL_CROSS_NIC"] = "0" if request.cross_node == "rails" else "1"
    devices = ",".join(f"{nic.name}:{port}" for nic in _verbs(own) for port in _ports(nic))
    if devices:
        env["UCX_NET_DEVICES"] = devices
        env["OMPI_MCA_btl_openib_if_include"] = devices
    if request.socket_interfaces:
        names = ",".join(request.socket_interfaces)
        env["NCCL_SOCKET_IFNAME"] = f"={names}"
        env["GLOO_SOCKET_IFNAME"] = names
        env["OMPI_MCA_btl_tcp_if_include"] = names
    return {name: env[name] for name in VARIABLES if name in env}


def nccl_ib_hca(topology: Topology, request: Request, nics: list[Nic]) -> str:
    """Return the exact form of NCCL_IB_HCA; rails and planes only for an NCCL that reads them."""
    version = request.nccl_version
    knows_rails = version is not None and version >= _RAILS_SINCE
    numbered = rails(topology) if request.cross_node == "rails" and knows_rails else {}
    entries = []
    for nic in nics:
        up = _ports(nic)
        # Without a port NCCL takes them all.
        ports = [str(port) for port in up] if len(up) < len(nic.ports) else [""]
        for port in ports:
            entry = f"{nic.name}:{port}" if port else nic.name
            if nic.name in numbered:
                rail, plane = numbered[nic.name]
                entry = f"{nic.name}:{port}:{rail}:{plane}"
            entries.append(entry)
    return f"={','.join(entries)}"


def _union(topology: Topology, shares: list[tuple[Nic, ...]]) -> list[Nic]:
    """Return the verbs devices of all ranks in PCI order.

    Ranks without a GPU have only those of their own; NCCL is not for them, but a program may ask.
    """
    names = {nic.name for nics in shares for nic in nics}
    return [nic for nic in _verbs(topology.nics) if nic.name in names]


def _verbs(nics: tuple[Nic, ...]) -> list[Nic]:
    """Return the devices that NCCL and UCX open by verbs; EFA is for libfabric alone."""
    return [nic for nic in nics if nic.provider != "efa"]


def _ports(nic: Nic) -> list[int]:
    """Return the ports that are up; 1 where the source does not tell."""
    up = [port.number for port in nic.ports if port.state == "ACTIVE"]
    return up or [port.number for port in nic.ports if port.state == "UNKNOWN"] or [1]


def reference_table() -> str:
    """Return the table in Markdown, for docs/reference/environment.md."""
    lines = ["| variable | set when | such as | why |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {when} | `{example}` | {why} |"
        for name, (when, example, why) in VARIABLES.items()
    ]
    return "\n".join(lines) + "\n"
