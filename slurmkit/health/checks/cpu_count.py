"""Are all CPUs online?"""

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped
from slurmkit.health.verdict import DRAIN
from slurmkit.topology.cpuset import parse_cpulist


def _look(node: Node) -> Found:
    online = len(parse_cpulist(node.read("sys/devices/system/cpu/online") or ""))
    present = len(parse_cpulist(node.read("sys/devices/system/cpu/present") or ""))
    if not online:
        return skipped("/sys does not tell")
    wanted = node.num_cpus or present
    if online < wanted:
        return fail(f"{online} of {wanted} CPUs are online")
    return passed(f"{online} CPUs")


CHECK = Check(
    id="cpu-count",
    reads="CPUs online and present in /sys/devices/system/cpu, and `cpus` of the node type",
    limits="fails when fewer are online than are present, or than the site says",
    action=DRAIN,
    function=_look,
    advice="Somebody, or the kernel after a machine check, has taken CPUs offline. A reboot that "
    "brings them back and an event log without errors are a good sign.",
)
