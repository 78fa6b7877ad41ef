"""Are the compute NICs' ports up, and as fast as they are rated?"""

from collections import Counter

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped
from slurmkit.doctor.nics import compute_nics

_UP = ("ACTIVE", "UNKNOWN")


def _look(place: Place) -> Answer:
    nics = compute_nics(place)
    ports = [(f"{nic.name}:{port.number}", port) for nic in nics for port in nic.ports]
    if not ports:
        return skipped("the node has no compute HCA with ports")
    facts = {"ports of compute HCAs": str(len(ports))}
    down = [f"{name} is {port.state}" for name, port in ports if port.state not in _UP]
    up = [(name, port.rate_gbps) for name, port in ports if port.state in _UP and port.rate_gbps]
    rates = Counter(rate for _, rate in up)
    rated = place.fabric.rate_gbps or max(rates, default=0.0)
    slow = [f"{name} runs at {rate:g} of {rated:g} Gb/s" for name, rate in up if rate < rated]
    common = rates.most_common(1)[0][0] if rates else 0.0
    facts["rate"] = f"{common:g} Gb/s"
    if down or slow:
        return fail("; ".join([*down, *slow][:8]), facts)
    return passed(f"{len(ports)} ports at {common:g} Gb/s", facts)


LINK = Link(
    id="ports",
    group="fabric",
    reads="state and rate of the compute HCAs' ports in /sys/class/infiniband; which HCAs those "
    "are follows from where the GPUs are",
    limits="fails when a port is not ACTIVE, or slower than the site's fabric is rated (without a "
    "site: than the fastest of the node), and when nodes differ",
    todo="look at cable, transceiver and switch port (mlxlink -d HCA, ethtool -m), and at the PCIe "
    "link of the card (lspci -vv, LnkSta)",
    look=_look,
    rdma=True,
)
