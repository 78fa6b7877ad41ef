"""Are the GPUs of a node set alike, with ECC on?"""

from collections.abc import Sequence

from slurmkit.health.check import FULL, Check, Found, Node, passed, skipped, warn
from slurmkit.health.gpus import DriverError, Gpu, NoDriverError
from slurmkit.health.nvidia import GROUP, TIMEOUT_S, ask
from slurmkit.health.verdict import NOTE


def judge(gpus: Sequence[Gpu]) -> Found:
    """Return the verdict on the settings of all GPUs."""
    odd = [f"GPU {gpu.index}: ECC is off" for gpu in gpus if gpu.ecc is False]
    odd += [f"GPU {gpu.index}: persistence mode is off" for gpu in gpus if gpu.persistence is False]
    return warn("; ".join(odd)) if odd else passed(f"{len(gpus)} GPUs")


def _look(node: Node) -> Found:
    try:
        return judge(ask(node))
    except (NoDriverError, DriverError) as error:
        return skipped(str(error))


CHECK = Check(
    id="gpu-settings",
    reads="ECC mode and persistence mode of each GPU, as the driver says",
    limits="warns when ECC or persistence mode is off",
    action=NOTE,
    function=_look,
    level=FULL,
    blocking=True,
    timeout_s=TIMEOUT_S,
    group=GROUP,
    advice="`nvidia-smi -e 1` (and a reset) turns ECC on. Run nvidia-persistenced: without it the "
    "first job after a pause waits while the driver starts the GPU.",
)
