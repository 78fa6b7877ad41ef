"""Has the driver reported GPU faults in the kernel log?"""

import re

from slurmkit.health.check import Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.kernel_log import kernel_messages
from slurmkit.health.verdict import DRAIN

_XID = re.compile(r"NVRM: Xid \((?P<where>[^)]*)\): (?P<number>\d+)(?P<rest>.*)")
# NVIDIA, "XID Errors" and "Analyzing Xid Errors with the Xid Catalog" (docs.nvidia.com/deploy/
# xid-errors): these point at the GPU, its memory, its bus or NVLink and want a reset, a reboot or a
# repair. Others, such as 13, 31, 43 and 45, come from programs.
HARDWARE = {
    46: "GPU stopped processing",
    48: "double-bit ECC error",
    62: "internal micro-controller halt",
    64: "row remapping failed",
    74: "NVLink error",
    79: "fallen off the bus",
    92: "high single-bit ECC rate",
    95: "uncontained memory error",
    109: "context switch timeout",
    110: "security fault",
    119: "GSP does not answer",
    120: "GSP error",
    136: "link training failed",
    140: "unrecovered ECC error",
    143: "GPU initialisation error",
}
NOTED = {63: "row remapped", 94: "contained memory error"} | dict.fromkeys(
    range(144, 151), "NVLink error"
)
#: "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)".
_RECOVERY = 154
_MOST = 8


def _look(node: Node) -> Found:
    try:
        messages = kernel_messages(node, node.thresholds["within_h"] * 3600)
    except OSError as error:
        return skipped(f"/dev/kmsg: {error.strerror}")
    bad: dict[str, str] = {}
    noted: dict[str, str] = {}
    for message in messages:
        found = _XID.search(message.text)
        if not found:
            continue
        number = int(found["number"])
        what = f"Xid {number} on {found['where'].removeprefix('PCI:')}"
        if number in HARDWARE:
            bad[what] = HARDWARE[number]
        elif number in NOTED:
            noted[what] = NOTED[number]
        elif number == _RECOVERY:
            _recovery(what, found["rest"], bad)
    if bad:
        return fail(_words(bad))
    return warn(_words(noted)) if noted else passed("no fault of a GPU in the kernel log")


def _recovery(what: str, text: str, bad: dict[str, str]) -> None:
    """Take the driver's word for what a GPU needs; the last one holds."""
    wanted = re.findall(r"\(([^)]*)\)", text)
    bad.pop(what, None)
    if wanted and wanted[-1].lower() != "none":
        bad[what] = wanted[-1]


def _words(found: dict[str, str]) -> str:
    return "; ".join(f"{what} ({why})" for what, why in list(found.items())[:_MOST])


CHECK = Check(
    id="gpu-xid",
    reads="the driver's Xid messages in the kernel log, where users may read it",
    limits="warns of remapped rows, contained memory errors and NVLink 5 events; fails on Xids "
    "that point at the hardware",
    action=DRAIN,
    function=_look,
    blocking=True,
    thresholds=(Threshold("within_h", 24.0, "older messages do not count, hours"),),
    advice="Look the number up in NVIDIA's Xid catalog. Most of these want a reset of the GPU or a "
    "reboot, which also empties the kernel log; one that comes back wants a repair.",
)
