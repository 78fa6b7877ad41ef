"""Is the memory of the GPUs sound?"""

from collections.abc import Sequence

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.gpus import DriverError, Gpu, NoDriverError
from slurmkit.health.nvidia import GROUP, TIMEOUT_S, ask
from slurmkit.health.verdict import DRAIN

WARN_CORRECTED = 1000.0


def judge(gpus: Sequence[Gpu], warn_corrected: float = WARN_CORRECTED) -> Found:
    """Return the verdict on the errors of each GPU."""
    bad = [f"GPU {gpu.index}: row remapping failed" for gpu in gpus if gpu.failed_remap]
    bad += [
        f"GPU {gpu.index}: {gpu.uncorrected} uncorrected ECC errors"
        for gpu in gpus
        if gpu.uncorrected
    ]
    if bad:
        return fail("; ".join(bad))
    odd = [f"GPU {gpu.index}: rows are remapped at its next reset" for gpu in gpus if gpu.pending]
    odd += [
        f"GPU {gpu.index}: {gpu.corrected} corrected ECC errors"
        for gpu in gpus
        if gpu.corrected >= warn_corrected
    ]
    return warn("; ".join(odd)) if odd else passed(f"{len(gpus)} GPUs without uncorrected errors")


def _look(node: Node) -> Found:
    try:
        gpus = ask(node)
    except (NoDriverError, DriverError) as error:
        return skipped(str(error))
    return judge(gpus, node.thresholds["warn_corrected"])


CHECK = Check(
    id="gpu-memory",
    reads="ECC counters since the last reset, and remapped rows, as the driver says",
    limits="warns of rows that wait to be remapped and of many corrected errors; fails on "
    "uncorrected errors or a failed remapping",
    action=DRAIN,
    function=_look,
    level=FULL,
    blocking=True,
    timeout_s=TIMEOUT_S,
    thresholds=(
        Threshold("warn_corrected", WARN_CORRECTED, "warns from so many corrected errors on"),
    ),
    group=GROUP,
    advice="Reset the GPU, or reboot: pending rows are remapped then. A failed remapping, or "
    "errors that come back, want a new GPU.",
)
