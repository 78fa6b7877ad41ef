"""Does flow control keep the RDMA priority lossless on the NICs?"""

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.doctor.nics import roce_netdevs
from slurmkit.doctor.qos import read_qos


def _look(place: Place) -> Answer:
    devices = roce_netdevs(place)
    if not devices:
        return skipped("the node has no RoCE interface")
    read = {dev.name: read_qos(dev) for dev in devices}
    known = {name: qos.pfc for name, qos in read.items() if qos.pfc is not None}
    if not known:
        return warn(
            "nothing tells the state of PFC",
            todo="install iproute2's dcb or NVIDIA's mlnx_qos on the nodes",
        )
    facts = {f"PFC of {name}": _list(on) for name, on in known.items()}
    wanted = place.fabric.priority
    if wanted is None:
        off = [name for name, on in known.items() if not on]
        text = f"{', '.join(off)}: no priority is lossless"
        return warn(text, facts) if off else passed(_all(known), facts)
    wrong = [f"{name} has {_list(on)}" for name, on in known.items() if on != {wanted}]
    if wrong:
        return fail(f"priority {wanted} alone should be lossless: {'; '.join(wrong)}", facts)
    return passed(f"priority {wanted} on {len(known)} interfaces", facts)


def _list(priorities: frozenset[int]) -> str:
    return ",".join(map(str, sorted(priorities))) or "none"


def _all(known: dict[str, frozenset[int]]) -> str:
    return ", ".join(f"{name} {_list(on)}" for name, on in known.items())


LINK = Link(
    id="pfc",
    group="fabric",
    reads="mlnx_qos -i, or dcb pfc show, of each RoCE interface",
    limits="fails when not exactly the site's fabric.priority is lossless, or when nodes differ; "
    "without a site it warns when none is",
    todo="mlnx_qos -i IF --pfc 0,0,0,1,0,0,0,0 (or: dcb pfc set dev IF prio-pfc all:off 3:on), on "
    "the switch ports, too; without it RDMA loses packets under load, and crawls",
    look=_look,
    timeout_s=20.0,
    rdma=True,
)
