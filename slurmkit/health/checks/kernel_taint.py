"""Has the kernel had an accident since it was started?"""

from slurmkit.health.check import FULL, Check, Found, Node, passed, skipped, warn
from slurmkit.health.verdict import NOTE

# Documentation/admin-guide/tainted-kernels.rst. Proprietary and out-of-tree modules, which every
# GPU node has, are no accidents.
_ACCIDENTS = {
    4: "a machine check",
    5: "a bad page",
    7: "an oops",
    9: "a warning",
    14: "a soft lockup",
}


def _look(node: Node) -> Found:
    taint = node.number("proc/sys/kernel/tainted")
    if taint is None:
        return skipped("/proc/sys/kernel/tainted cannot be read")
    found = [words for bit, words in _ACCIDENTS.items() if taint >> bit & 1]
    return warn(f"the kernel had {', '.join(found)}") if found else passed(f"taint {taint}")


CHECK = Check(
    id="kernel-taint",
    reads="/proc/sys/kernel/tainted",
    limits="warns when the kernel had a machine check, a bad page, an oops, a warning or a lockup",
    action=NOTE,
    function=_look,
    level=FULL,
    advice="`dmesg -T` says more. After an oops or a bad page, reboot before the node computes.",
)
