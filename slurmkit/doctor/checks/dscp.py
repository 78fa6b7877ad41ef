"""Do the NICs trust DSCP, and map the RDMA packets' to the lossless priority?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.doctor.nics import roce_netdevs
from slurmkit.doctor.qos import read_qos


def _look(place: Place) -> Answer:
    devices = roce_netdevs(place)
    if not devices:
        return skipped("the node has no RoCE interface")
    read = {dev.name: read_qos(dev) for dev in devices}
    known = {name: qos for name, qos in read.items() if qos.trust}
    if not known:
        return skipped("nothing tells what the NICs trust (dcb, mlnx_qos)")
    facts = {f"trust of {name}": qos.trust for name, qos in known.items()}
    dscp, priority = place.fabric.dscp, place.fabric.priority
    untrusting = [name for name, qos in known.items() if qos.trust != "dscp"]
    if untrusting:
        text = f"{', '.join(untrusting)}: the NIC trusts {known[untrusting[0]].trust}, not dscp"
        return fail(text, facts) if place.fabric.roce else warn(text, facts)
    if dscp is not None and priority is not None:
        wrong = [
            f"{name} maps DSCP {dscp} to priority {qos.priority_of[dscp]}"
            for name, qos in known.items()
            if qos.priority_of.get(dscp, priority) != priority
        ]
        if wrong:
            return fail("; ".join(wrong), facts)
    return passed(f"trusted on {len(known)} interfaces", facts)


LINK = Link(
    id="dscp",
    group="fabric",
    reads="mlnx_qos -i, or dcb app show, of each RoCE interface",
    limits="fails when the site's fabric is RoCE and a NIC trusts another field, when the site's "
    "fabric.dscp is not mapped to fabric.priority, or when nodes differ",
    todo="mlnx_qos -i IF --trust dscp, and --dscp2prio set,26,3: else RDMA packets come into the "
    "queue that is not lossless",
    look=_look,
    timeout_s=20.0,
    rdma=True,
)
