"""Has the driver reported GPU faults in the kernel log?"""

import errno
import os
import re

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped, warn
from slurmkit.health.verdict import DRAIN

WITHIN_S = 86400.0
_XID = re.compile(r"NVRM: Xid \((?P<where>[^)]*)\): (?P<number>\d+)")
# NVIDIA, "XID Errors" (docs.nvidia.com/deploy/xid-errors): these point at the GPU, its memory, its
# bus or NVLink and want a reset or a repair. Others, such as 13, 31, 43 and 45, come from programs.
HARDWARE = {
    48: "double-bit ECC error",
    62: "internal micro-controller halt",
    64: "row remapping failed",
    74: "NVLink error",
    79: "fallen off the bus",
    92: "high single-bit ECC rate",
    95: "uncontained memory error",
    110: "security fault",
    119: "GSP does not answer",
    120: "GSP error",
    136: "link training failed",
    140: "unrecovered ECC error",
    143: "GPU initialisation error",
}
NOTED = {63: "row remapped", 94: "contained memory error"}
_READ_BYTES = 8192


def _look(node: Node) -> Found:
    try:
        lines = _kernel_log(node)
    except OSError as error:
        return skipped(f"/dev/kmsg: {error.strerror}")
    uptime = node.read("proc/uptime").split()
    now_s = float(uptime[0]) if uptime else 0.0
    bad, noted = {}, {}
    for line in lines:
        found = _XID.search(line)
        if not found or now_s - _time_s(line) > WITHIN_S:
            continue
        number = int(found["number"])
        what = f"Xid {number} on {found['where'].removeprefix('PCI:')}"
        if number in HARDWARE:
            bad[what] = HARDWARE[number]
        elif number in NOTED:
            noted[what] = NOTED[number]
    if bad:
        return fail("; ".join(f"{what} ({why})" for what, why in list(bad.items())[:8]))
    if noted:
        return warn("; ".join(f"{what} ({why})" for what, why in list(noted.items())[:8]))
    return passed("no fault of a GPU in the kernel log")


def _kernel_log(node: Node) -> list[str]:
    """Return what is in the kernel's ring buffer now (Documentation/ABI/testing/dev-kmsg)."""
    descriptor = os.open(node.root / "dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    data = []
    try:
        while True:
            try:
                record = os.read(descriptor, _READ_BYTES)
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while we read: go on
                    continue
                break
            if not record:
                break
            data.append(record)
    finally:
        os.close(descriptor)
    return b"".join(data).decode("utf-8", "replace").splitlines()


def _time_s(line: str) -> float:
    """Return the time of a record, seconds since boot: its third field is microseconds."""
    fields = line.partition(";")[0].split(",")
    return int(fields[2]) / 1e6 if len(fields) > 2 and fields[2].isdigit() else 0.0


CHECK = Check(
    id="gpu-xid",
    reads="the driver's Xid messages of the last day in the kernel log, where users may read it",
    limits="warns of remapped rows and contained errors; fails on Xids that point at the hardware",
    action=DRAIN,
    function=_look,
    blocking=True,
)
