"""Is a GPU slowed down by heat or by power?"""

from collections.abc import Sequence

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.gpus import DriverError, Gpu, NoDriverError
from slurmkit.health.nvidia import GROUP, TIMEOUT_S, ask
from slurmkit.health.verdict import DRAIN

FAIL_SHARE = 0.5


def judge(gpus: Sequence[Gpu], fail_share: float = FAIL_SHARE) -> Found:
    """Return the verdict on the clocks of all GPUs."""
    bad, odd = [], []
    for gpu in gpus:
        if not gpu.throttled:
            continue
        words = f"GPU {gpu.index}: {', '.join(gpu.throttled)}"
        slow = gpu.sm_mhz and gpu.max_sm_mhz and gpu.sm_mhz < fail_share * gpu.max_sm_mhz
        if slow:
            bad.append(f"{words}, {gpu.sm_mhz} of {gpu.max_sm_mhz} MHz")
        else:
            odd.append(words)
    if bad:
        return fail("; ".join(bad))
    return warn("; ".join(odd)) if odd else passed(f"{len(gpus)} GPUs at the clocks they want")


def _look(node: Node) -> Found:
    try:
        gpus = ask(node)
    except (NoDriverError, DriverError) as error:
        return skipped(str(error))
    return judge(gpus, node.thresholds["fail_share"])


CHECK = Check(
    id="gpu-clocks",
    reads="clocks of each GPU and why they are not higher, as the driver says; idling and settings "
    "do not count",
    limits="warns when a GPU is slowed down by heat or by power; fails when it then runs at a "
    "small part of its highest clock",
    action=DRAIN,
    function=_look,
    level=FULL,
    blocking=True,
    timeout_s=TIMEOUT_S,
    thresholds=(
        Threshold("fail_share", FAIL_SHARE, "fails below this share of the highest clock"),
    ),
    group=GROUP,
    advice="hw_power_brake_slowdown points at the power supply, hw_thermal_slowdown at cooling. "
    "One slow GPU makes all ranks of a job slow.",
)
