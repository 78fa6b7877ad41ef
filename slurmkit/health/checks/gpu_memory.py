"""Is the memory of the GPUs sound? Asked of the driver by NVML, which may hang: in a child."""

import contextlib
import importlib
from typing import Any

from slurmkit.health.check import FULL, Check, Found, Node, fail, passed, skipped, warn
from slurmkit.health.verdict import DRAIN

TIMEOUT_S = 20.0


def judge(gpus: list[dict[str, Any]]) -> Found:
    """Return the verdict on what NVML says of each GPU: uncorrected, pending, failed_remap."""
    bad = [f"GPU {gpu['index']}: row remapping failed" for gpu in gpus if gpu["failed_remap"]]
    bad += [
        f"GPU {gpu['index']}: {gpu['uncorrected']} uncorrected ECC errors"
        for gpu in gpus
        if gpu["uncorrected"]
    ]
    if bad:
        return fail("; ".join(bad))
    pending = [str(gpu["index"]) for gpu in gpus if gpu["pending"]]
    if pending:
        return warn(f"rows wait to be remapped at the next reset of GPU {', '.join(pending)}")
    return passed(f"{len(gpus)} GPUs without uncorrected errors")


def _look(_node: Node) -> Found:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return skipped("nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return skipped(f"NVML does not answer: {error}")
    try:
        return judge([_facts(nvml, index) for index in range(nvml.nvmlDeviceGetCount())])
    except nvml.NVMLError as error:
        return fail(f"NVML failed: {error}")


def _facts(nvml: Any, index: int) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    facts = {"index": index, "uncorrected": 0, "pending": False, "failed_remap": False}
    with contextlib.suppress(nvml.NVMLError):  # a GPU without ECC, or with it off
        facts["uncorrected"] = nvml.nvmlDeviceGetTotalEccErrors(
            handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        )
    with contextlib.suppress(nvml.NVMLError):  # before Ampere
        _corrected, _uncorrected, pending, failed = nvml.nvmlDeviceGetRemappedRows(handle)
        facts["pending"], facts["failed_remap"] = bool(pending), bool(failed)
    return facts


CHECK = Check(
    id="gpu-memory",
    reads="ECC counters since the last reset, and remapped rows, by NVML (nvidia-ml-py)",
    limits="warns of rows that wait to be remapped; fails on uncorrected errors or a failed "
    "remapping",
    action=DRAIN,
    function=_look,
    level=FULL,
    blocking=True,
    timeout_s=TIMEOUT_S,
)
