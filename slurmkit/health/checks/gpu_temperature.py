"""Are the GPUs cool enough?"""

from collections.abc import Sequence

from slurmkit.health.check import FULL, Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.gpus import DriverError, Gpu, NoDriverError
from slurmkit.health.nvidia import GROUP, TIMEOUT_S, ask
from slurmkit.health.verdict import NOTE

WARN_C, FAIL_C, MEMORY_FAIL_C = 83.0, 92.0, 105.0


def judge(gpus: Sequence[Gpu], warn_c: float, fail_c: float, memory_fail_c: float) -> Found:
    """Return the verdict on the temperatures of all GPUs."""
    bad: list[str] = []
    odd: list[str] = []
    for gpu in gpus:
        limit_c = min(fail_c, gpu.slowdown_c or fail_c)
        if gpu.temperature_c is not None and gpu.temperature_c >= min(warn_c, limit_c):
            list_ = bad if gpu.temperature_c >= limit_c else odd
            list_.append(f"GPU {gpu.index}: {gpu.temperature_c} °C")
        if gpu.memory_c is not None and gpu.memory_c >= memory_fail_c:
            bad.append(f"GPU {gpu.index}: its memory {gpu.memory_c} °C")
    if bad:
        return fail("; ".join(bad))
    if odd:
        return warn("; ".join(odd))
    known = [gpu.temperature_c for gpu in gpus if gpu.temperature_c is not None]
    return passed(f"at most {max(known)} °C") if known else skipped("no temperature is known")


def _look(node: Node) -> Found:
    try:
        gpus = ask(node)
    except (NoDriverError, DriverError) as error:
        return skipped(str(error))
    return judge(gpus, *(node.thresholds[name] for name in ("warn_c", "fail_c", "memory_fail_c")))


CHECK = Check(
    id="gpu-temperature",
    reads="temperature of each GPU and of its memory, as the driver says",
    limits="warns and fails from a temperature on; the GPU's own slowdown temperature counts, too",
    action=NOTE,
    function=_look,
    level=FULL,
    blocking=True,
    timeout_s=TIMEOUT_S,
    thresholds=(
        Threshold("warn_c", WARN_C, "warns from this temperature of a GPU on, °C"),
        Threshold("fail_c", FAIL_C, "fails from this temperature of a GPU on, °C"),
        Threshold("memory_fail_c", MEMORY_FAIL_C, "fails from this temperature of its memory, °C"),
    ),
    group=GROUP,
    advice="Look at fans, coolant and the temperature of the room. One hot GPU among cool ones is "
    "a matter of its own cooler.",
)
