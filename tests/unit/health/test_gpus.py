"""What the GPU driver says, by its log, by nvidia-smi and by NVML: prepared answers."""

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slurmkit.health import nvidia
from slurmkit.health.check import Check, Node
from slurmkit.health.checks import (
    gpu_clocks,
    gpu_memory,
    gpu_nvlink,
    gpu_settings,
    gpu_temperature,
)
from slurmkit.health.gpus import Gpu
from slurmkit.health.registry import all_checks
from slurmkit.health.run import run_checks
from slurmkit.health.verdict import Verdict

Put = Callable[[str, str], None]
Say = Callable[..., Verdict]
Process = Callable[..., None]

# Made by hand after the form of nvidia-smi 550; it was not recorded on a machine.
XML = """<?xml version="1.0" ?>
<nvidia_smi_log><driver_version>550.90</driver_version>
<gpu id="00000000:1B:00.0"><persistence_mode>Enabled</persistence_mode>
<ecc_mode><current_ecc>Enabled</current_ecc></ecc_mode>
<ecc_errors><volatile><sram_correctable>3</sram_correctable>
<sram_uncorrectable_parity>0</sram_uncorrectable_parity><dram_correctable>4</dram_correctable>
<dram_uncorrectable>1</dram_uncorrectable></volatile></ecc_errors>
<remapped_rows><remapped_row_pending>Yes</remapped_row_pending>
<remapped_row_failure>No</remapped_row_failure></remapped_rows>
<temperature><gpu_temp>84 C</gpu_temp><gpu_temp_slow_threshold>87 C</gpu_temp_slow_threshold>
<memory_temp>96 C</memory_temp></temperature>
<clocks><sm_clock>600 MHz</sm_clock></clocks><max_clocks><sm_clock>1980 MHz</sm_clock></max_clocks>
<clocks_event_reasons><clocks_event_reason_gpu_idle>Not Active</clocks_event_reason_gpu_idle>
<clocks_event_reason_hw_power_brake_slowdown>Active</clocks_event_reason_hw_power_brake_slowdown>
</clocks_event_reasons><fabric><state>Completed</state></fabric></gpu>
<gpu id="00000000:43:00.0"><ecc_mode><current_ecc>Disabled</current_ecc></ecc_mode>
<ecc_errors><volatile><sram_correctable>N/A</sram_correctable></volatile></ecc_errors>
<temperature><gpu_temp>30 C</gpu_temp></temperature></gpu></nvidia_smi_log>
"""
LINKS = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)
\t Link 0: 26.562 GB/s
\t Link 1: <inactive>
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)
\t Link 0: 26.562 GB/s
\t Link 1: 26.562 GB/s
"""


def record(seconds: float, text: str) -> str:
    return f"4,1,{int(seconds * 1e6)},-;{text}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (record(99_000, "NVRM: Xid (PCI:0000:1b:00): 79, GPU is gone"), "fail"),
        (record(99_000, "NVRM: Xid (PCI:0000:1b:00): 63, a row"), "warn"),
        (record(99_000, "NVRM: Xid (PCI:0000:1b:00): 13, a program"), "pass"),
        (record(1_000, "NVRM: Xid (PCI:0000:1b:00): 79, long ago"), "pass"),
        ("", "pass"),
    ],
)
def test_gpu_xid(text: str, expected: str, put: Put, say: Say) -> None:
    put("proc/uptime", "100000.0 1.0")
    put("dev/kmsg", text)
    found = say("gpu-xid")
    assert found.verdict == expected
    if expected == "fail":
        assert "0000:1b:00" in found.detail


def test_gpu_xid_where_users_may_not_look(say: Say) -> None:
    assert say("gpu-xid").verdict == "skipped"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)", "fail"),
        ("154, GPU recovery action changed from 0x1 (GPU Reset) to 0x0 (None)", "pass"),
        ("119, pid=1, Timeout after 6s of waiting for RPC response from GPU0 GSP!", "fail"),
        ("145, RLW_REMAP Nonfatal", "warn"),
        ("31, pid=3, MMU Fault", "pass"),
    ],
)
def test_xids(text: str, expected: str, put: Put, say: Say) -> None:
    put("proc/uptime", "1000.0 1.0")
    put("dev/kmsg", f"3,1,{int(9e8)},-;NVRM: Xid (PCI:0000:1b:00): {text}\n")
    assert say("gpu-xid").verdict == expected


def test_gpu_memory() -> None:
    assert gpu_memory.judge([Gpu(0)])[0] == "pass"
    assert gpu_memory.judge([Gpu(0), Gpu(1, pending=True)])[0] == "warn"
    assert gpu_memory.judge([Gpu(0, corrected=5000)])[0] == "warn"
    verdict, detail = gpu_memory.judge([Gpu(3, uncorrected=2)])
    assert (verdict, detail) == ("fail", "GPU 3: 2 uncorrected ECC errors")
    assert gpu_memory.judge([Gpu(0, failed_remap=True)])[0] == "fail"


def test_gpus_that_differ() -> None:
    assert gpu_nvlink.judge([Gpu(0, links_up=18), Gpu(1, links_up=18)])[0] == "pass"
    assert gpu_nvlink.judge([Gpu(0, links_up=18, fabric="in progress")])[0] == "fail"
    assert gpu_nvlink.judge([Gpu(0)])[0] == "skipped"
    assert gpu_clocks.judge([Gpu(0, sm_mhz=200, max_sm_mhz=2000)])[0] == "pass"  # it idles
    hot = Gpu(0, throttled=("hw_thermal_slowdown",), sm_mhz=1900, max_sm_mhz=2000)
    assert gpu_clocks.judge([hot])[0] == "warn"
    hot = Gpu(0, temperature_c=88, slowdown_c=87)
    assert gpu_temperature.judge([hot], 83, 92, 105)[0] == "fail"
    assert gpu_temperature.judge([hot], 90, 95, 105)[0] == "fail"
    assert gpu_temperature.judge([Gpu(0, memory_c=106)], 83, 92, 105)[0] == "fail"
    assert gpu_settings.judge([Gpu(0, ecc=True), Gpu(1, persistence=False)])[0] == "warn"


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    (tmp_path / "dev").mkdir(exist_ok=True)
    (tmp_path / "dev/nvidia0").touch()
    return path


def ask(
    tmp_path: Path, checks: list[Check], *, within_s: float = 10.0, **known: Any
) -> list[Verdict]:
    node = Node(root=tmp_path, nvidia_smi=str(tmp_path / "nvidia-smi"), **known)
    return run_checks(checks, node, within_s=within_s)


(MEMORY,) = [check for check in all_checks() if check.id == "memory"]
GPU_CHECKS = [check for check in all_checks() if check.group == nvidia.GROUP]


def test_what_nvidia_smi_says(tmp_path: Path, put: Put) -> None:
    put("xml", XML)
    put("links", LINKS)
    log = f'echo "$1" >>{tmp_path}/asked'
    program(tmp_path, f'{log}\n[ "$1" = -q ] && cat {tmp_path}/xml || cat {tmp_path}/links')
    found = {item.check: item for item in ask(tmp_path, GPU_CHECKS)}
    assert found["gpu-driver"].detail == "2 GPUs"
    assert found["gpu-memory"].detail == "GPU 0: 1 uncorrected ECC errors"
    assert found["gpu-nvlink"].detail == "GPU 0: 1 of 2 NVLinks are up"
    assert (found["gpu-temperature"].verdict, found["gpu-temperature"].detail) == (
        "warn",
        "GPU 0: 84 °C",
    )
    assert "hw_power_brake_slowdown, 600 of 1980 MHz" in found["gpu-clocks"].detail
    assert found["gpu-settings"].detail == "GPU 1: ECC is off"
    # Six checks have asked once.
    assert (tmp_path / "asked").read_text().split() == ["-q", "nvlink"]


def test_a_driver_that_knows_too_few_gpus(tmp_path: Path, put: Put) -> None:
    put("xml", XML)
    program(tmp_path, f'[ "$1" = -q ] && cat {tmp_path}/xml || exit 3')
    (found,) = ask(tmp_path, GPU_CHECKS[:1], num_gpus=8)
    assert (found.verdict, found.detail) == ("fail", "the driver knows 2 of 8 GPUs")


def test_a_program_that_fails_and_one_that_is_not_there(tmp_path: Path) -> None:
    program(tmp_path, "echo 'Unable to determine the device handle for GPU0' >&2; exit 15")
    found = ask(tmp_path, GPU_CHECKS[:2])
    assert found[0].verdict == "fail"
    assert "ended with 15: Unable to determine" in found[0].detail
    assert found[1].verdict == "skipped"
    (tmp_path / "nvidia-smi").unlink()
    assert {item.verdict for item in ask(tmp_path, GPU_CHECKS)} == {"skipped"}


def test_a_program_that_ignores_all_signals_holds_up_nobody(tmp_path: Path, put: Put) -> None:
    path = program(tmp_path, "trap '' TERM INT HUP\nwhile :; do sleep 600; done")
    started = time.monotonic()
    put("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 90 kB\n")
    found = ask(tmp_path, [*GPU_CHECKS, MEMORY], driver_s=0.5)
    assert time.monotonic() - started < 3.0
    assert (found[0].verdict, found[0].drains) == ("fail", True)
    assert "did not answer within 0.5 s" in found[0].detail
    assert {item.verdict for item in found[1:-1]} == {"skipped"}
    assert found[-1].verdict == "pass"
    # Neither is it left behind.
    deadline = time.monotonic() + 5
    while any(str(path).encode() in _command(pid) for pid in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _command(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_driver_that_still_hangs_is_not_asked_again(
    tmp_path: Path, put: Put, process: Process
) -> None:
    program(tmp_path, f"touch {tmp_path}/asked; exit 1")
    put("proc/uptime", "1000.0 1.0")
    process(40, "/usr/bin/nvidia-smi -q -x", state="D")
    found = ask(tmp_path, GPU_CHECKS[:2])
    assert found[0].detail == "process 40, which asked before, still hangs in the kernel"
    assert [item.verdict for item in found] == ["fail", "skipped"]
    assert not (tmp_path / "asked").exists()
    process(40, "/usr/bin/nvidia-smi -q -x", state="S")
    assert "ended with 1" in ask(tmp_path, GPU_CHECKS[:1])[0].detail


def test_a_check_that_is_cut_short_warns_and_does_not_fail(tmp_path: Path) -> None:
    program(tmp_path, "sleep 600")
    found = ask(tmp_path, GPU_CHECKS[:2], within_s=0.4)
    assert [item.verdict for item in found] == ["warn", "skipped"]
    assert found[0].detail == "0.4 s were left for it, and it took longer"


class _Nvml(SimpleNamespace):
    """What slurmkit uses of pynvml, for one GPU with two NVLinks; the rest it does not have."""

    class NVMLError(Exception):
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("NVML_"):
            return {"NVML_NVLINK_MAX_LINKS": 18, "NVML_FEATURE_ENABLED": 1}.get(name, name)

        def missing(*_arguments: object) -> None:
            raise self.NVMLError("not supported")

        return missing


class _FabricInfo(ctypes.Structure):
    _fields_ = (("state", ctypes.c_uint),)


def test_what_nvml_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Put) -> None:
    links = [1, 0]

    def link_state(_handle: object, link: int) -> int:
        if link >= len(links):
            raise _Nvml.NVMLError("no such link")
        return links[link]

    def fabric_info(_handle: object, info: Any) -> None:
        info._obj.state = 2

    value = SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=97))
    nvml = _Nvml(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEccErrors=lambda _h, kind, _which: 2 if "UNCORRECTED" in kind else 5,
        nvmlDeviceGetRemappedRows=lambda _h: (0, 1, 1, 0),
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _h: 0x81,
        nvmlDeviceGetFieldValues=lambda _h, _fields: [value],
        nvmlDeviceGetNvLinkState=link_state,
        c_nvmlGpuFabricInfo_t=_FabricInfo,
        nvmlDeviceGetGpuFabricInfo=fabric_info,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    put("dev/nvidia0", "")
    found = {item.check: item for item in run_checks(GPU_CHECKS, Node(root=tmp_path), within_s=9.0)}
    assert found["gpu-driver"].detail == "1 GPUs"
    assert found["gpu-memory"].detail == "GPU 0: 2 uncorrected ECC errors"
    assert "hw_power_brake_slowdown" in found["gpu-clocks"].detail
    assert found["gpu-temperature"].verdict == "skipped"
    assert found["gpu-nvlink"].detail == "GPU 0: its registration with the fabric is in progress"
