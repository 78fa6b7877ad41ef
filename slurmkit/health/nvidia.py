"""What NVIDIA's driver says of each GPU: by NVML where nvidia-ml-py is installed, else nvidia-smi.

Both may hang for ever when a GPU is sick, so that only checks in a process of their own ask.
"""

import contextlib
import importlib
import os
import re
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from slurmkit.health.check import Node
from slurmkit.health.processes import command_of, pids, state_of
from slurmkit.record import Record

# A prolog imports this module and asks nobody: it does not pay for what only asking needs.
if TYPE_CHECKING:
    from xml.etree import ElementTree

#: All checks that ask the driver share one process.
GROUP = "gpu-driver"
TIMEOUT_S = 20.0
# Younger processes may just be waiting for their disk.
_HANGS_S = 60.0
#: Reasons for slow clocks that are no idling and no setting (NVML, nvmlClocksEventReasons): bits.
THROTTLING = {
    0x08: "hw_slowdown",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}
# nvmlGpuFabricState_t.
_FABRIC = {0: "not supported", 1: "not started", 2: "in progress", 3: "completed"}


class Gpu(Record):
    """One GPU; None stands for what the driver does not tell.

    Attributes:
        index: as the driver counts.
        uncorrected: uncorrected ECC errors since the driver was loaded or the GPU was reset.
        corrected: corrected ones.
        pending: whether rows wait to be remapped.
        failed_remap: whether remapping a row has failed.
        temperature_c: of the GPU.
        memory_c: of its memory.
        slowdown_c: where the GPU slows itself down.
        sm_mhz: clock of its processors.
        max_sm_mhz: the highest that they can have.
        throttled: reasons for which it is slowed down.
        ecc: whether ECC is on.
        persistence: whether persistence mode is on.
        fabric: state of its registration with the NVLink fabric, in lower case.
        links_down: NVLinks that are not active.
        links_up: NVLinks that are active.
    """

    index: int
    uncorrected: int = 0
    corrected: int = 0
    pending: bool = False
    failed_remap: bool = False
    temperature_c: int | None = None
    memory_c: int | None = None
    slowdown_c: int | None = None
    sm_mhz: int | None = None
    max_sm_mhz: int | None = None
    throttled: tuple[str, ...] = ()
    ecc: bool | None = None
    persistence: bool | None = None
    fabric: str = ""
    links_down: int = 0
    links_up: int = 0


class NoDriverError(ValueError):
    """There is nobody to ask."""


class DriverError(Exception):
    """The driver, or the program that asks it, fails or hangs."""


def ask(node: Node) -> tuple[Gpu, ...]:
    """Return the GPUs; asked once per process, whatever comes of it.

    Raises:
        NoDriverError: neither NVML nor nvidia-smi is here, or the node has no GPU.
        DriverError: they do not answer as they should.
    """
    if not any(re.fullmatch(r"nvidia\d+", name) for name in node.names("dev")):
        raise NoDriverError("the node has no NVIDIA GPU")
    if pid := _still_hangs(node):
        raise DriverError(f"process {pid}, which asked before, still hangs in the kernel")
    answer = _answer(node.nvidia_smi, node.driver_s)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _still_hangs(node: Node) -> str:
    """Return a process that hangs in the driver since an earlier look: one is enough of them."""
    uptime = node.read("proc/uptime").split()
    oldest = (float(uptime[0]) - _HANGS_S) * os.sysconf("SC_CLK_TCK") if uptime else 0.0
    for pid in pids(node):
        state, start = state_of(node, pid)
        if state != "D" or start > oldest:
            continue
        names = [word.rpartition("/")[2] for word in command_of(node, pid)[:4]]
        if "nvidia-smi" in names or {"slurmkit", "health", "program"} <= set(names):
            return pid
    return ""


@cache
def _answer(program: str, within_s: float) -> tuple[Gpu, ...] | NoDriverError | DriverError:
    try:
        by_nvml = _by_nvml() if program == "nvidia-smi" else None
        return _by_program(program, time.monotonic() + within_s) if by_nvml is None else by_nvml
    except (NoDriverError, DriverError) as error:
        return error


# -- NVML -----------------------------------------------------------------------------------------


def _by_nvml() -> tuple[Gpu, ...] | None:
    """Return what NVML says; None where it cannot be loaded."""
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
    import ctypes  # noqa: PLC0415

    if not hasattr(nvml, "c_nvmlGpuFabricInfo_t"):  # nvidia-ml-py of before NVSwitch systems
        return ""
    info = nvml.c_nvmlGpuFabricInfo_t()
    try:
        nvml.nvmlDeviceGetGpuFabricInfo(handle, ctypes.byref(info))
    except nvml.NVMLError:
        return ""
    return _FABRIC.get(info.state, "")


# -- nvidia-smi -----------------------------------------------------------------------------------


def _by_program(program: str, deadline: float) -> tuple[Gpu, ...]:
    gpus = read_xml(_run([program, "-q", "-x"], deadline))
    try:
        links = read_links(_run([program, "nvlink", "-s"], deadline))
    except DriverError:  # GPUs without NVLink make it fail
        return gpus
    return tuple(
        gpu.replace(links_up=up, links_down=down)
        for gpu in gpus
        for up, down in (links.get(gpu.index, (0, 0)),)
    )


def _run(argv: list[str], deadline: float) -> str:
    """Run a program that may ignore every signal but KILL, and even that one for a while."""
    import subprocess  # noqa: PLC0415

    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
    except OSError as error:
        raise NoDriverError(f"{argv[0]}: {error.strerror}; nvidia-ml-py is not there") from error
    try:
        left_s = max(0.1, deadline - time.monotonic())
        printed, said = process.communicate(timeout=left_s)
    except subprocess.TimeoutExpired as late:
        # Not waited for: in the kernel it may hang for ever. Our own end takes the rest along.
        process.kill()
        raise DriverError(f"{argv[0]} did not answer within {left_s:.1f} s") from late
    if process.returncode != 0:
        words = " ".join((said or printed).split())[:200]
        raise DriverError(f"{argv[0]} ended with {process.returncode}: {words}")
    return printed


def read_xml(text: str) -> tuple[Gpu, ...]:
    """Return what ``nvidia-smi -q -x`` printed; names that a driver does not have are left out.

    Raises:
        DriverError: it is no XML.
    """
    from xml.etree import ElementTree  # noqa: PLC0415

    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (from the driver's own program)
    except ElementTree.ParseError as error:
        raise DriverError(f"nvidia-smi -q -x printed no XML: {error}") from error
    return tuple(_of_xml(index, gpu) for index, gpu in enumerate(root.iter("gpu")))


def _of_xml(index: int, gpu: "ElementTree.Element") -> Gpu:
    def text(path: str) -> str:
        return (gpu.findtext(path) or "").strip()

    def number(path: str) -> int | None:
        found = re.match(r"\d+", text(path))
        return int(found[0]) if found else None

    def total(kind: str) -> int:
        errors = gpu.find("ecc_errors/volatile")
        found = [] if errors is None else list(errors)
        values = [item.text or "" for item in found if re.search(kind, item.tag)]
        return sum(int(value) for value in values if value.strip().isdigit())

    def yes(path: str) -> bool:
        return text(path).lower() == "yes"

    def mode(path: str) -> bool | None:
        return {"enabled": True, "disabled": False}.get(text(path).lower())

    reasons = []
    # Renamed from "throttle" to "event" in drivers of 2023.
    for element in gpu.iter():
        name = re.sub(r"clocks_(throttle|event)_reason_", "", element.tag)
        if name in THROTTLING.values() and (element.text or "").strip() == "Active":
            reasons.append(name)
    return Gpu(
        index=index,
        uncorrected=total(r"uncorrectable"),
        corrected=total(r"_correctable"),
        pending=yes("remapped_rows/remapped_row_pending"),
        failed_remap=yes("remapped_rows/remapped_row_failure"),
        temperature_c=number("temperature/gpu_temp"),
        memory_c=number("temperature/memory_temp"),
        slowdown_c=number("temperature/gpu_temp_slow_threshold"),
        sm_mhz=number("clocks/sm_clock"),
        max_sm_mhz=number("max_clocks/sm_clock"),
        throttled=tuple(reasons),
        ecc=mode("ecc_mode/current_ecc"),
        persistence=mode("persistence_mode"),
        fabric=text("fabric/state").lower(),
    )


def read_links(text: str) -> dict[int, tuple[int, int]]:
    """Return the active and the inactive links of each GPU, of what ``nvidia-smi nvlink -s`` said.

    A link that is up has a rate; any other word, such as ``<inactive>``, means that it is not.
    """
    found: dict[int, tuple[int, int]] = {}
    index = -1
    for line in text.splitlines():
        if head := re.match(r"GPU (\d+):", line):
            index = int(head[1])
            found[index] = (0, 0)
        elif link := re.match(r"\s+Link \d+:\s*(.*)", line):
            up, down = found.get(index, (0, 0))
            is_up = re.match(r"[\d.]+ GB/s", link[1]) is not None
            found[index] = (up + is_up, down + (not is_up))
    return found
