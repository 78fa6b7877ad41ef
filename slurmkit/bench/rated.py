"""What the links of this node are rated for: as ordered, or as its NICs say."""

import os
from collections.abc import Mapping
from pathlib import Path

from slurmkit.bench.order import Order
from slurmkit.bench.sizes import parse_rated
from slurmkit.bench.values import Rated
from slurmkit.launch.interface import interface_to
from slurmkit.topology.discover import discover
from slurmkit.topology.model import Topology

_SYS = Path("/sys/class/net")
_MEGABIT = 1e6 / 8
_GIGABIT = 1e9 / 8


def rated_of(order: Order, via: str, environ: Mapping[str, str] = os.environ) -> Rated | None:
    """Return what this node's links are rated for; None when nothing tells.

    gloo sends over one Ethernet interface; the others are taken to use every RDMA port for compute
    that is up, as NCCL and UCX do. Where there is no such port, they use Ethernet, too.
    """
    if order.rated:
        rate, links = parse_rated(order.rated)
        count = links if links is not None else (rdma_links(discover()) if via != "gloo" else 1)
        return Rated(rate, max(1, count), order.rated_source or "--rated")
    if via != "gloo" and (found := rated_rdma(discover())) is not None:
        return found
    interface = environ.get("GLOO_SOCKET_IFNAME") or interface_to(environ.get("MASTER_ADDR", ""))
    return rated_ethernet(interface)


def rdma_links(node: Topology) -> int:
    """Return how many RDMA NICs of a node carry collectives now."""
    return len(_rates(node))


def rated_rdma(node: Topology) -> Rated | None:
    """Return what a node's RDMA NICs for compute are rated for; the slowest counts for all."""
    rates = _rates(node)
    if not rates:
        return None
    return Rated(min(rates) * _GIGABIT, len(rates), "the RDMA ports of the nodes")


def _rates(node: Topology) -> list[float]:
    compute = [nic for nic in node.nics if nic.role == "compute"]
    usable = compute or [nic for nic in node.nics if nic.role == "unknown"]
    # A profile leaves the state out, and what is not known counts as up.
    return [
        port.rate_gbps
        for nic in usable
        for port in nic.ports
        if port.state in ("ACTIVE", "UNKNOWN") and port.rate_gbps
    ]


def rated_ethernet(interface: str, sys_dir: Path = _SYS) -> Rated | None:
    """Return what an Ethernet interface is rated for; a virtual one's figure means nothing."""
    if not interface or not (sys_dir / interface / "device").exists():
        return None
    try:
        megabits = int((sys_dir / interface / "speed").read_text())
    except (OSError, ValueError):  # the kernel refuses to tell while the link is down
        return None
    return Rated(megabits * _MEGABIT, 1, f"interface {interface}") if megabits > 0 else None
