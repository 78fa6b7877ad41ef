"""Does the GPU driver answer?"""

from slurmkit.health.check import FULL, Check, Found, Node, fail, passed, skipped
from slurmkit.health.gpus import DriverError, NoDriverError
from slurmkit.health.nvidia import GROUP, TIMEOUT_S, ask
from slurmkit.health.verdict import DRAIN


def _look(node: Node) -> Found:
    try:
        gpus = ask(node)
    except NoDriverError as error:
        return skipped(str(error))
    except DriverError as error:
        return fail(str(error))
    if node.num_gpus is not None and len(gpus) < node.num_gpus:
        return fail(f"the driver knows {len(gpus)} of {node.num_gpus} GPUs")
    return passed(f"{len(gpus)} GPUs")


CHECK = Check(
    id="gpu-driver",
    reads="what NVML (nvidia-ml-py), or else `nvidia-smi -q -x`, says of each GPU",
    limits=f"fails when it says nothing within {TIMEOUT_S:g} s, ends with an error, or knows fewer "
    "GPUs than the node should have",
    action=DRAIN,
    function=_look,
    level=FULL,
    blocking=True,
    timeout_s=TIMEOUT_S,
    group=GROUP,
    advice="A driver that hangs mostly needs a reboot. The kernel log says more: see `gpu-xid`.",
)
