"""Are the NVLinks of the GPUs up, and the GPUs part of the NVLink fabric?"""

from collections.abc import Sequence

from slurmkit.health.check import FULL, Check, Found, Node, fail, passed, skipped
from slurmkit.health.gpus import DriverError, Gpu, NoDriverError
from slurmkit.health.nvidia import GROUP, TIMEOUT_S, ask
from slurmkit.health.verdict import DRAIN

# "Completed" is a GPU that the fabric manager has taken in; GPUs without one say "N/A".
_OUTSIDE = ("not started", "in progress")


def judge(gpus: Sequence[Gpu]) -> Found:
    """Return the verdict on the links of all GPUs, which are held against each other."""
    most = max((gpu.links_up for gpu in gpus), default=0)
    bad = [
        f"GPU {gpu.index}: {gpu.links_up} of {gpu.links_up + gpu.links_down} NVLinks are up"
        for gpu in gpus
        if gpu.links_up < most
    ]
    bad += [
        f"GPU {gpu.index}: its registration with the fabric is {gpu.fabric}"
        for gpu in gpus
        if gpu.fabric in _OUTSIDE
    ]
    if bad:
        return fail("; ".join(bad))
    return passed(f"{most} links of each GPU") if most else skipped("the GPUs have no NVLink")


def _look(node: Node) -> Found:
    try:
        return judge(ask(node))
    except (NoDriverError, DriverError) as error:
        return skipped(str(error))


CHECK = Check(
    id="gpu-nvlink",
    reads="state of each NVLink and of the GPU's registration with the NVLink fabric, as the "
    "driver says",
    limits="fails when a GPU has fewer active links than the best one of the node, or is not in "
    "the fabric",
    action=DRAIN,
    function=_look,
    level=FULL,
    blocking=True,
    timeout_s=TIMEOUT_S,
    group=GROUP,
    advice="See whether nvidia-fabricmanager runs, and whether gpu-xid names Xid 74 or 144 to 150.",
)
