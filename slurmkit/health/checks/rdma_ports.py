"""Are the InfiniBand and RoCE ports up, and as fast as others of their kind?"""

import re
from collections import defaultdict

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped, warn
from slurmkit.health.verdict import DRAIN
from slurmkit.record import Record

_RATE = re.compile(r"([\d.]+) Gb/sec")


class _Port(Record):
    name: str
    kind: str
    active: bool
    state: str
    rate_gbps: float


def _look(node: Node) -> Found:
    ports = _ports(node)
    if not ports:
        return skipped("the node has no RDMA device")
    kinds: dict[str, list[_Port]] = defaultdict(list)
    for port in ports:
        kinds[port.kind].append(port)
    bad: list[str] = []
    odd: list[str] = []
    for members in kinds.values():
        up = [port for port in members if port.active]
        down = [port for port in members if not port.active]
        # A port that was never cabled is down on all nodes; one of many is a broken cable.
        list_ = bad if len(up) > len(down) else odd
        list_ += [f"{port.name} is {port.state}" for port in down]
        best = max((port.rate_gbps for port in up), default=0.0)
        bad += [
            f"{port.name} runs at {port.rate_gbps:g} of {best:g} Gb/s"
            for port in up
            if port.rate_gbps < best
        ]
    if bad:
        return fail("; ".join(bad[:8]))
    return warn("; ".join(odd[:8])) if odd else passed(f"{len(ports)} ports are active")


def _ports(node: Node) -> list[_Port]:
    found = []
    for device in node.names("sys/class/infiniband"):
        folder = f"sys/class/infiniband/{device}"
        board = node.read(f"{folder}/board_id")
        for number in node.names(f"{folder}/ports"):
            place = f"{folder}/ports/{number}"
            state = node.read(f"{place}/state").partition(": ")[2]
            rate = _RATE.match(node.read(f"{place}/rate"))
            found.append(
                _Port(
                    name=f"{device} port {number}",
                    kind=f"{board} {node.read(f'{place}/link_layer')}",
                    active=state == "ACTIVE",
                    state=state or "in no known state",
                    rate_gbps=float(rate[1]) if rate else 0.0,
                )
            )
    return found


CHECK = Check(
    id="rdma-ports",
    reads="state and rate of each port in /sys/class/infiniband, held against ports of the same "
    "board and link layer",
    limits="warns when a port is down as most of its kind are; fails when most of its kind are up, "
    "or when it is slower than they are",
    action=DRAIN,
    function=_look,
    advice="Clean or swap cable and transceiver, and look at the switch's side of the link.",
)
