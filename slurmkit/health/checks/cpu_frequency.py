"""May the CPUs run as fast as they can?"""

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, passed, skipped, warn
from slurmkit.health.verdict import NOTE

WARN_SHARE = 0.95


def _look(node: Node) -> Found:
    folder = "sys/devices/system/cpu"
    slow, capped, looked = 0, 0, 0
    for name in node.names(folder):
        place = f"{folder}/{name}/cpufreq"
        governor = node.read(f"{place}/scaling_governor")
        if not governor:
            continue
        looked += 1
        # The intel_pstate and amd-pstate-epp drivers scale up under their "powersave", too
        # (Documentation/admin-guide/pm/intel_pstate.rst).
        driver = node.read(f"{place}/scaling_driver")
        active = driver in ("intel_pstate", "amd-pstate-epp")
        slow += governor == "powersave" and not active
        most, allowed = (
            node.number(f"{place}/{key}") for key in ("cpuinfo_max_freq", "scaling_max_freq")
        )
        capped += bool(most and allowed and allowed < node.thresholds["warn_share"] * most)
    if not looked:
        return skipped("no CPU lets its frequency be set")
    odd = [f"{slow} CPUs have the governor powersave"] if slow else []
    odd += [f"{capped} CPUs may not reach their highest frequency"] if capped else []
    return warn("; ".join(odd)) if odd else passed(f"{looked} CPUs")


CHECK = Check(
    id="cpu-frequency",
    reads="governor and highest allowed frequency of each CPU in /sys/devices/system/cpu",
    limits="warns of the governor powersave where it means the lowest frequency, and of a cap",
    action=NOTE,
    function=_look,
    level=FULL,
    thresholds=(
        Threshold("warn_share", WARN_SHARE, "warns of a cap below this share of the highest"),
    ),
    advice="`cpupower frequency-set -g performance`, and make it permanent.",
)
