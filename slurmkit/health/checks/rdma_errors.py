"""Do the InfiniBand and RoCE ports count errors?"""

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.verdict import NOTE

# Documentation/ABI/stable/sysfs-class-infiniband, and for RoCE the mlx5 hardware counters
# (NVIDIA, "Understanding mlx5 Linux counters"). Congestion marks are no errors and are left out.
_LINK = (
    "symbol_error",
    "port_rcv_errors",
    "port_rcv_remote_physical_errors",
    "local_link_integrity_errors",
    "excessive_buffer_overrun_errors",
    "link_error_recovery",
    "port_xmit_discards",
    "VL15_dropped",
)
_HARDWARE = (
    "local_ack_timeout_err",
    "packet_seq_err",
    "out_of_sequence",
    "rx_icrc_encapsulated",
    "req_cqe_error",
    "roce_adp_retrans_to",
)
_MOST = 8


def read_counters(node: Node) -> dict[str, int]:
    """Return every error counter of every port: ``mlx5_0/1/symbol_error`` to its value."""
    found = {}
    for device in node.names("sys/class/infiniband"):
        for port in node.names(f"sys/class/infiniband/{device}/ports"):
            place = f"sys/class/infiniband/{device}/ports/{port}"
            names = [("counters", name) for name in _LINK]
            names += [("hw_counters", name) for name in _HARDWARE]
            for folder, name in names:
                value = node.number(f"{place}/{folder}/{name}")
                if value is not None:
                    found[f"{device}/{port}/{name}"] = value
    return found


def _look(node: Node) -> Found:
    values = read_counters(node)
    if not values:
        return skipped("no port counts errors")
    if node.counters is None:
        return skipped("earlier counts are kept by the health program, and not here")
    growth = node.counters.growth("rdma-errors", values)
    if growth is None:
        return passed(f"{len(values)} counters, read for the first time")
    limits = node.thresholds
    bad = {name: count for name, count in growth.items() if count >= limits["fail_count"]}
    odd = {name: count for name, count in growth.items() if count >= limits["warn_count"]}
    if bad or odd:
        most = sorted((bad or odd).items(), key=lambda item: -item[1])[:_MOST]
        words = "; ".join(f"{name} +{count}" for name, count in most)
        return fail(words) if bad else warn(words)
    return passed(f"{len(values)} counters, none grew by {limits['warn_count']:g}")


CHECK = Check(
    id="rdma-errors",
    reads="error counters of each port in /sys/class/infiniband, held against those of the last "
    "one to two hours",
    limits="warns and fails when a counter has grown by a number",
    action=NOTE,
    function=_look,
    level=FULL,
    thresholds=(
        Threshold("warn_count", 10.0, "warns when a counter has grown by so many"),
        Threshold("fail_count", 10000.0, "fails when a counter has grown by so many"),
    ),
    advice="symbol_error and link_error_recovery point at cable, transceiver or port: clean it, "
    "put it in anew, swap it. out_of_sequence and packet_seq_err point at packets lost in a "
    "switch, on RoCE mostly for want of flow control.",
)
