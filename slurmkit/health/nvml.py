"""What NVML says of each GPU, by nvidia-ml-py."""

import contextlib
import ctypes
import importlib
from collections.abc import Callable
from typing import Any

from slurmkit.health.gpus import THROTTLING, DriverError, Gpu

# nvmlGpuFabricState_t.
_FABRIC = {0: "not supported", 1: "not started", 2: "in progress", 3: "completed"}


def gpus_by_nvml() -> tuple[Gpu, ...] | None:
    """Return what NVML says; None where it cannot be loaded.

    Raises:
        DriverError: it was loaded, and fails.
    """
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except ImportError:
        return None
    except nvml.NVMLError as error:
        if type(error).__name__ == "NVMLError_LibraryNotFound":
            return None
        raise DriverError(f"NVML: {error}") from error
    try:
        return tuple(_of_nvml(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as error:
        raise DriverError(f"NVML: {error}") from error


def _of_nvml(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def known(function: Callable[..., Any], *arguments: Any) -> Any:
        with contextlib.suppress(nvml.NVMLError):  # this GPU, or this driver, has no such thing
            return function(handle, *arguments)
        return None

    volatile, total = nvml.NVML_VOLATILE_ECC, nvml.nvmlDeviceGetTotalEccErrors
    rows = known(nvml.nvmlDeviceGetRemappedRows) or (0, 0, 0, 0)
    reasons = known(nvml.nvmlDeviceGetCurrentClocksThrottleReasons) or 0
    ecc = known(nvml.nvmlDeviceGetEccMode)
    persistence = known(nvml.nvmlDeviceGetPersistenceMode)
    fields = known(nvml.nvmlDeviceGetFieldValues, [nvml.NVML_FI_DEV_MEMORY_TEMP])
    links = []
    for link in range(nvml.NVML_NVLINK_MAX_LINKS):
        state = known(nvml.nvmlDeviceGetNvLinkState, link)
        if state is None:  # the first that the GPU does not have
            break
        links.append(state == nvml.NVML_FEATURE_ENABLED)
    return Gpu(
        index=index,
        uncorrected=known(total, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, volatile) or 0,
        corrected=known(total, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, volatile) or 0,
        pending=bool(rows[2]),
        failed_remap=bool(rows[3]),
        temperature_c=known(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        memory_c=fields[0].value.uiVal or None if fields and not fields[0].nvmlReturn else None,
        slowdown_c=known(
            nvml.nvmlDeviceGetTemperatureThreshold, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        ),
        sm_mhz=known(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
        max_sm_mhz=known(nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM),
        throttled=tuple(name for bit, name in THROTTLING.items() if reasons & bit),
        ecc=None if ecc is None else bool(ecc[0]),
        persistence=None if persistence is None else bool(persistence),
        fabric=_fabric_of(nvml, handle),
        links_up=sum(links),
        links_down=len(links) - sum(links),
    )


def _fabric_of(nvml: Any, handle: Any) -> str:
    """Return the state of a GPU's registration with the NVLink fabric, as nvidia-smi words it."""
    if not hasattr(nvml, "c_nvmlGpuFabricInfo_t"):  # nvidia-ml-py of before NVSwitch systems
        return ""
    info = nvml.c_nvmlGpuFabricInfo_t()
    try:
        nvml.nvmlDeviceGetGpuFabricInfo(handle, ctypes.byref(info))
    except nvml.NVMLError:
        return ""
    return _FABRIC.get(info.state, "")
