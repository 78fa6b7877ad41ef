"""Does the kernel complain about the hardware, the file systems or tasks that hang?"""

import re

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, passed, skipped, warn
from slurmkit.health.kernel_log import kernel_messages
from slurmkit.health.verdict import NOTE

_SIGNS = {
    "machine check": re.compile(r"mce: .*Hardware Error|\[Hardware Error\]"),
    "task that hangs": re.compile(r"blocked for more than \d+ seconds"),
    "soft lockup": re.compile(r"soft lockup|rcu.*detected stalls"),
    "file system error": re.compile(
        r"EXT4-fs error|XFS .*(?:Corruption|Internal error)|BTRFS.*error"
        r"|Remounting filesystem read-only"
    ),
    "disk error": re.compile(r"I/O error, dev|nvme\S* .*(?:timeout|controller is down)"),
    "PCIe error": re.compile(r"AER: .*(?:Uncorrect|Fatal)"),
    "file server that does not answer": re.compile(r"nfs: server .* not responding"),
    "process killed for want of memory": re.compile(r"Out of memory: Killed process"),
}


def _look(node: Node) -> Found:
    try:
        messages = kernel_messages(node, node.thresholds["within_h"] * 3600)
    except OSError as error:
        return skipped(f"/dev/kmsg: {error.strerror}")
    counts: dict[str, int] = {}
    for message in messages:
        for name, pattern in _SIGNS.items():
            if pattern.search(message.text):
                counts[name] = counts.get(name, 0) + 1
    words = "; ".join(f"{name}: {count}" for name, count in counts.items())
    return warn(words) if words else passed(f"{len(messages)} messages")


CHECK = Check(
    id="kernel-log",
    reads="messages of the kernel about machine checks, hung tasks, lockups, file systems, disks, "
    "PCIe, file servers and want of memory",
    limits="warns of any of them",
    action=NOTE,
    function=_look,
    level=FULL,
    blocking=True,
    thresholds=(Threshold("within_h", 24.0, "older messages do not count, hours"),),
    advice="`dmesg -T` shows them in full.",
)
