"""The checks of hardware that most machines lack, on prepared trees and prepared answers."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slurmkit.health import nvidia
from slurmkit.health.check import Check, Node
from slurmkit.health.checks import (
    clock_sync,
    gpu_clocks,
    gpu_nvlink,
    gpu_settings,
    gpu_temperature,
)
from slurmkit.health.config import (
    HealthConfigError,
    configured,
    node_of,
    read_config,
    read_own,
)
from slurmkit.health.counters import WINDOW_S, Counters
from slurmkit.health.nvidia import Gpu
from slurmkit.health.registry import all_checks
from slurmkit.health.run import run_checks
from slurmkit.health.verdict import Verdict
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.profile import load_profile

CHECKS = {check.id: check for check in all_checks()}
GIB = 2**20  # in the kB of /proc/meminfo


def put(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def say(check: str, root: Path, **known: object) -> Verdict:
    return CHECKS[check].run(Node(root=root, **known))  # type: ignore[arg-type]


# -- sysfs and procfs -----------------------------------------------------------------------------


def test_memory_that_is_missing(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", f"MemTotal: {960 * GIB} kB\n")
    assert say("memory-size", tmp_path).verdict == "skipped"
    assert say("memory-size", tmp_path, memory_mib=980 * 1024).verdict == "pass"
    found = say("memory-size", tmp_path, memory_mib=1024 * 1024)
    assert (found.verdict, found.drains) == ("fail", True)


def test_memory_errors(tmp_path: Path) -> None:
    assert say("memory-errors", tmp_path).verdict == "skipped"
    for name, corrected, uncorrected in (("mc0", 5, 0), ("mc1", 0, 0)):
        put(tmp_path, f"sys/devices/system/edac/mc/{name}/ce_count", f"{corrected}\n")
        put(tmp_path, f"sys/devices/system/edac/mc/{name}/ue_count", f"{uncorrected}\n")
    assert say("memory-errors", tmp_path).verdict == "pass"
    put(tmp_path, "sys/devices/system/edac/mc/mc0/ce_count", "500\n")
    assert say("memory-errors", tmp_path).verdict == "warn"
    put(tmp_path, "sys/devices/system/edac/mc/mc1/ue_count", "1\n")
    found = say("memory-errors", tmp_path)
    assert (found.verdict, found.detail) == ("fail", "mc1: 1 uncorrected errors")


def test_cpus_that_are_offline(tmp_path: Path) -> None:
    assert say("cpu-count", tmp_path).verdict == "skipped"
    put(tmp_path, "sys/devices/system/cpu/online", "0-6\n")
    put(tmp_path, "sys/devices/system/cpu/present", "0-7\n")
    assert say("cpu-count", tmp_path).detail == "7 of 8 CPUs are online"
    assert say("cpu-count", tmp_path, num_cpus=7).verdict == "pass"


def test_mounts(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    put(tmp_path, "proc/self/mounts", "server:/home /home nfs rw 0 0\n")
    assert say("mounts", tmp_path).verdict == "skipped"
    assert say("mounts", tmp_path, mounts=("/home",)).verdict == "pass"
    found = say("mounts", tmp_path, mounts=("/home", "/scratch"))
    assert (found.verdict, found.detail) == ("fail", "/scratch is not mounted")
    assert say("mounts", tmp_path, mounts=("/home/",)).verdict == "pass"
    (tmp_path / "my data").mkdir()
    put(
        tmp_path, "proc/self/mounts", "s:/h /home nfs rw 0 0\ns:/my\\040d /my\\040data nfs rw 0 0\n"
    )
    assert say("mounts", tmp_path, mounts=("/home", "/my data")).verdict == "pass"
    (tmp_path / "home").rmdir()  # as a stale handle: the mount is there, its file system is not
    assert say("mounts", tmp_path, mounts=("/home",)).verdict == "fail"


def test_pcie_links(tmp_path: Path) -> None:
    write_sysfs(load_profile("dgx-h100"), tmp_path)
    assert say("pcie-link", tmp_path).verdict == "skipped"
    folders = []
    for path in (tmp_path / "sys/bus/pci/devices").iterdir():
        kind = (path / "class").read_text()
        if kind.startswith(("0x0302", "0x0207")) and (path / "max_link_width").exists():
            put(path, "current_link_width", (path / "max_link_width").read_text())
            put(path, "current_link_speed", (path / "max_link_speed").read_text())
            folders.append((path, kind))
    assert len(folders) >= 16
    assert say("pcie-link", tmp_path).verdict == "pass"
    gpu = next(path for path, kind in folders if kind.startswith("0x0302"))
    nic = next(path for path, kind in folders if kind.startswith("0x0207"))
    speed = (gpu / "current_link_speed").read_text()
    put(gpu, "current_link_speed", "2.5 GT/s PCIe\n")  # as an idle GPU does
    assert say("pcie-link", tmp_path).verdict == "warn"
    put(gpu, "current_link_speed", speed)
    put(gpu, "current_link_width", "8\n")
    found = say("pcie-link", tmp_path)
    assert (found.verdict, found.drains) == ("fail", True)
    assert f"GPU {gpu.name} has 8 of 16 lanes" in found.detail
    put(gpu, "current_link_width", "16\n")
    put(nic, "current_link_speed", "8.0 GT/s PCIe\n")
    assert "mlx5_" in say("pcie-link", tmp_path).detail
    # A slot that can do no more is no fault of the card.
    put(Path(os.path.realpath(nic)).parent, "max_link_speed", "8.0 GT/s PCIe\n")
    assert say("pcie-link", tmp_path).verdict == "pass"


def port(tmp_path: Path, **counts: int) -> None:
    for name, value in counts.items():
        place = "sys/class/infiniband/mlx5_0/ports/1/counters"
        put(tmp_path, f"{place}/{name}", f"{value}\n")


def look(check: str, tmp_path: Path, hours: float) -> Verdict:
    """Look at a node at an hour, as its health program does."""
    counters = Counters(tmp_path / "counters.json", 1e9 + hours * 3600)
    found = say(check, tmp_path, counters=counters)
    counters.save()
    return found


def test_errors_of_ports_count_when_they_grow(tmp_path: Path) -> None:
    assert say("rdma-errors", tmp_path).verdict == "skipped"
    port(tmp_path, symbol_error=50_000, link_downed=3)
    assert say("rdma-errors", tmp_path).verdict == "skipped"
    assert look("rdma-errors", tmp_path, 0).verdict == "pass"
    assert look("rdma-errors", tmp_path, 0.1).verdict == "pass"
    port(tmp_path, symbol_error=50_100)
    found = look("rdma-errors", tmp_path, 0.2)
    assert (found.verdict, found.detail) == ("warn", "mlx5_0/1/symbol_error +100")
    port(tmp_path, symbol_error=90_000)
    assert look("rdma-errors", tmp_path, 0.3).verdict == "fail"
    # Two windows later nothing has come in.
    assert look("rdma-errors", tmp_path, 1.5).verdict == "fail"
    assert look("rdma-errors", tmp_path, 3).verdict == "pass"


def test_links_that_flap(tmp_path: Path) -> None:
    port(tmp_path, link_downed=3)
    assert look("link-flaps", tmp_path, 0).verdict == "pass"
    port(tmp_path, link_downed=4)
    assert look("link-flaps", tmp_path, 0.1).verdict == "warn"
    port(tmp_path, link_downed=8)
    found = look("link-flaps", tmp_path, 0.2)
    assert (found.verdict, found.drains) == ("fail", True)
    assert found.detail == "mlx5_0/1 went down 5 times"


def test_counters(tmp_path: Path) -> None:
    path = tmp_path / "c.json"

    def growth(now: float, **values: int) -> dict[str, int] | None:
        counters = Counters(path, now)
        found = counters.growth("x", values)
        counters.save()
        return found

    assert growth(0, a=5) is None
    assert growth(1, a=7) == {"a": 2}
    assert growth(2, a=3) == {"a": 3}  # it was reset, and counted three since
    assert growth(WINDOW_S + 3, a=9, b=1) == {"a": 4}
    # After a repair of days nothing of it came lately; neither where a clock was set back.
    assert growth(50 * WINDOW_S, a=99) is None
    assert growth(50 * WINDOW_S + 1, a=99) == {"a": 0}
    assert growth(WINDOW_S, a=100) is None
    assert growth(WINDOW_S + 1, a=101) == {"a": 1}
    path.write_text('{"x": [1]}')
    assert growth(0, a=5) is None


def test_cpu_frequency(tmp_path: Path) -> None:
    assert say("cpu-frequency", tmp_path).verdict == "skipped"
    place = "sys/devices/system/cpu/cpu0/cpufreq"
    for name, value in (
        ("scaling_governor", "powersave"),
        ("scaling_driver", "intel_pstate"),
        ("cpuinfo_max_freq", "4000000"),
        ("scaling_max_freq", "4000000"),
    ):
        put(tmp_path, f"{place}/{name}", value)
    assert say("cpu-frequency", tmp_path).verdict == "pass"
    put(tmp_path, f"{place}/scaling_max_freq", "2000000")
    assert "may not reach" in say("cpu-frequency", tmp_path).detail
    put(tmp_path, f"{place}/scaling_driver", "acpi-cpufreq")
    assert "powersave" in say("cpu-frequency", tmp_path).detail


def test_sockets_that_are_too_hot(tmp_path: Path) -> None:
    place = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
    put(tmp_path, place, "100")
    assert look("cpu-throttling", tmp_path, 0).verdict == "pass"
    put(tmp_path, place, "900")
    assert look("cpu-throttling", tmp_path, 0.1).verdict == "warn"


@pytest.mark.parametrize(
    ("status", "error_s", "expected"), [(0, 0.01, "pass"), (0x40, 16.0, "warn"), (0, 70.0, "fail")]
)
def test_a_clock_without_a_time_server(status: int, error_s: float, expected: str) -> None:
    assert clock_sync.judge(status, error_s, 60.0)[0] == expected


def test_the_clock_of_this_machine_can_be_asked() -> None:
    found = CHECKS["clock-sync"].run(Node())
    assert found.verdict in ("pass", "warn", "fail"), found.detail


def process(root: Path, pid: int, command: str, job: str = "", state: str = "S") -> None:
    put(root, f"proc/{pid}/cmdline", command.replace(" ", "\0"))
    put(root, f"proc/{pid}/comm", command.split(maxsplit=1)[0])
    put(root, f"proc/{pid}/environ", f"A=b\0SLURM_JOB_ID={job}\0" if job else "A=b\0")
    put(root, f"proc/{pid}/stat", f"{pid} (x y) {state} " + " ".join(["1"] * 30))


def test_processes_of_jobs_that_have_ended(tmp_path: Path) -> None:
    put(tmp_path, "proc/10/cmdline", "slurmstepd: [7.batch]")
    process(tmp_path, 11, "python train.py", "7")
    process(tmp_path, 12, "sshd", "")
    assert say("stray-processes", tmp_path).verdict == "pass"
    process(tmp_path, 13, "python old.py", "6")
    found = say("stray-processes", tmp_path)
    assert (found.verdict, found.detail) == ("warn", "13 python (job 6)")


def test_processes_that_are_stuck(tmp_path: Path) -> None:
    process(tmp_path, 20, "dd", state="D")
    assert look("stuck-processes", tmp_path, 0).verdict == "pass"
    assert look("stuck-processes", tmp_path, 1.5).detail == "20 dd"
    process(tmp_path, 20, "dd", state="S")
    assert look("stuck-processes", tmp_path, 1.6).verdict == "pass"


def test_slurm_and_munge(tmp_path: Path) -> None:
    process(tmp_path, 1, "init")
    assert say("slurm-daemons", tmp_path).detail == "slurmd does not run"
    process(tmp_path, 2, "slurmd")
    assert say("slurm-daemons", tmp_path).verdict == "pass"
    found = say("slurm-daemons", tmp_path, munge_socket="/run/munge/other")
    assert "munged does not take a connection" in found.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mce: [Hardware Error]: Machine check events logged", "machine check: 1"),
        ("INFO: task dd:42 blocked for more than 120 seconds.", "task that hangs: 1"),
        ("EXT4-fs error (device sda1): ext4_find_entry", "file system error: 1"),
        ("usb 1-1: new device", ""),
    ],
)
def test_what_the_kernel_complains_about(tmp_path: Path, text: str, expected: str) -> None:
    put(tmp_path, "proc/uptime", "1000.0 1.0")
    put(tmp_path, "dev/kmsg", f"3,1,{int(9e8)},-;{text}\n KEY=value\n")
    found = say("kernel-log", tmp_path)
    assert found.verdict == ("warn" if expected else "pass")
    assert expected in found.detail


def test_accidents_of_the_kernel(tmp_path: Path) -> None:
    assert say("kernel-taint", tmp_path).verdict == "skipped"
    put(tmp_path, "proc/sys/kernel/tainted", "12289\n")  # P, O, E: modules of a GPU node
    assert say("kernel-taint", tmp_path).verdict == "pass"
    put(tmp_path, "proc/sys/kernel/tainted", "128\n")
    assert "an oops" in say("kernel-taint", tmp_path).detail


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
def test_xids(tmp_path: Path, text: str, expected: str) -> None:
    put(tmp_path, "proc/uptime", "1000.0 1.0")
    put(tmp_path, "dev/kmsg", f"3,1,{int(9e8)},-;NVRM: Xid (PCI:0000:1b:00): {text}\n")
    assert say("gpu-xid", tmp_path).verdict == expected


# -- the GPU driver -------------------------------------------------------------------------------

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


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    put(tmp_path, "dev/nvidia0", "")
    return path


def ask(
    tmp_path: Path, checks: list[Check], *, within_s: float = 10.0, **known: Any
) -> list[Verdict]:
    node = Node(root=tmp_path, nvidia_smi=str(tmp_path / "nvidia-smi"), **known)
    return run_checks(checks, node, within_s=within_s)


GPU_CHECKS = [check for check in all_checks() if check.group == nvidia.GROUP]


def test_what_nvidia_smi_says(tmp_path: Path) -> None:
    put(tmp_path, "xml", XML)
    put(tmp_path, "links", LINKS)
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


def test_a_driver_that_knows_too_few_gpus(tmp_path: Path) -> None:
    put(tmp_path, "xml", XML)
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


def test_a_program_that_ignores_all_signals_holds_up_nobody(tmp_path: Path) -> None:
    path = program(tmp_path, "trap '' TERM INT HUP\nwhile :; do sleep 600; done")
    started = time.monotonic()
    put(tmp_path, "proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 90 kB\n")
    found = ask(tmp_path, [*GPU_CHECKS, CHECKS["memory"]], driver_s=0.5)
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


def test_a_driver_that_still_hangs_is_not_asked_again(tmp_path: Path) -> None:
    program(tmp_path, f"touch {tmp_path}/asked; exit 1")
    put(tmp_path, "proc/uptime", "1000.0 1.0")
    process(tmp_path, 40, "/usr/bin/nvidia-smi -q -x", state="D")
    found = ask(tmp_path, GPU_CHECKS[:2])
    assert found[0].detail == "process 40, which asked before, still hangs in the kernel"
    assert [item.verdict for item in found] == ["fail", "skipped"]
    assert not (tmp_path / "asked").exists()
    process(tmp_path, 40, "/usr/bin/nvidia-smi -q -x", state="S")
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


def test_what_nvml_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = [1, 0]

    def link_state(_handle: object, link: int) -> int:
        if link >= len(links):
            raise _Nvml.NVMLError("no such link")
        return links[link]

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
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    put(tmp_path, "dev/nvidia0", "")
    found = {item.check: item for item in run_checks(GPU_CHECKS, Node(root=tmp_path), within_s=9.0)}
    assert found["gpu-driver"].detail == "1 GPUs"
    assert found["gpu-memory"].detail == "GPU 0: 2 uncorrected ECC errors"
    assert "hw_power_brake_slowdown" in found["gpu-clocks"].detail
    assert found["gpu-temperature"].verdict == "skipped"


def test_a_check_that_hangs_for_ever_holds_nothing_open(tmp_path: Path) -> None:
    """Neither the output of a prolog, which is waited for, nor the health program's lock."""

    def look(_node: Node) -> tuple[str, str]:
        links = []
        for path in sorted(Path("/proc/self/fd").iterdir(), key=lambda path: int(path.name)):
            with contextlib.suppress(OSError):  # the listing itself
                links.append(str(path.readlink()))
        return "pass", " ".join(links)

    check = Check("a", "", "", "drain", look, blocking=True)
    with (tmp_path / "lock").open("w"):
        (found,) = run_checks([check], Node(root=tmp_path), within_s=9.0)
    *first, pipe = found.detail.split()
    assert first == ["/dev/null"] * 3
    assert pipe.startswith("pipe:")


def test_a_mistake_in_a_check_warns_and_does_not_fail(tmp_path: Path) -> None:
    def wrong(_node: Node) -> tuple[str, str]:
        raise KeyError("x")

    checks = [
        Check("a", "", "", "drain", wrong, blocking=True),
        Check("b", "", "", "drain", wrong),
    ]
    for item in run_checks(checks, Node(root=tmp_path), within_s=9.0):
        assert (item.verdict, item.drains) == ("warn", False)
        assert "KeyError" in item.detail


def test_gpus_that_differ() -> None:
    assert gpu_nvlink.judge([Gpu(0, links_up=18), Gpu(1, links_up=18)])[0] == "pass"
    assert gpu_nvlink.judge([Gpu(0, links_up=18, fabric="in progress")])[0] == "fail"
    assert gpu_nvlink.judge([Gpu(0)])[0] == "skipped"
    assert gpu_clocks.judge([Gpu(0, sm_mhz=200, max_sm_mhz=2000)])[0] == "pass"  # it idles
    hot = Gpu(0, throttled=("hw_thermal_slowdown",), sm_mhz=1900, max_sm_mhz=2000)
    assert gpu_clocks.judge([hot])[0] == "warn"
    hot = Gpu(0, temperature_c=88, slowdown_c=87)
    assert gpu_temperature.judge([hot], 83, 92, 105)[0] == "fail"
    assert gpu_temperature.judge([Gpu(0, memory_c=106)], 83, 92, 105)[0] == "fail"
    assert gpu_settings.judge([Gpu(0, ecc=True), Gpu(1, persistence=False)])[0] == "warn"


# -- what a site says -----------------------------------------------------------------------------


def write(tmp_path: Path, **more: object) -> Path:
    path = tmp_path / "health.json"
    path.write_text(json.dumps({"format": "slurmkit-health", "version": 1, **more}))
    return path


def test_a_site_sets_thresholds_and_actions_per_node_type(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        common={"mounts": ["/home"], "checks": {"memory": {"thresholds": {"fail_share": 0.5}}}},
        kinds=[
            {
                "name": "dgx",
                "hosts": "dgx[01-04]",
                "num_gpus": 8,
                "mounts": ["/raid"],
                "checks": {"memory": {"action": "drain"}, "hugepages": {"off": True}},
            },
            {"name": "cpu", "hosts": "c[1-2]"},
        ],
        drains={"max_share": 0.25},
    )
    config = read_config(path)
    node = node_of(config, "dgx03")
    assert (node.num_gpus, node.mounts) == (8, ("/home", "/raid"))
    checks = {check.id: check for check in configured(config, "dgx03")}
    assert "hugepages" not in checks
    put(tmp_path, "proc/meminfo", f"MemTotal: {100 * GIB} kB\nMemAvailable: {40 * GIB} kB\n")
    found = checks["memory"].run(node.replace(root=tmp_path))
    assert (found.verdict, found.action) == ("fail", "drain")
    others = {check.id: check for check in configured(config, "c2")}
    assert others["memory"].action == "refuse"
    assert node_of(config, "elsewhere").num_gpus is None
    assert config.drains.max_share == 0.25


def test_a_file_that_makes_no_sense_says_so(tmp_path: Path) -> None:
    for text in ("[]", '{"format": "x"}', "{"):
        (tmp_path / "h.json").write_text(text)
        with pytest.raises(HealthConfigError, match=r"h\.json"):
            read_config(tmp_path / "h.json")
    bad = {"kinds": [{"checks": {"memory": {"action": "explode"}}}]}
    with pytest.raises(HealthConfigError, match="no action 'explode'"):
        read_config(write(tmp_path, **bad))
    with pytest.raises(HealthConfigError, match="gone"):
        read_config(tmp_path / "gone")
    assert read_own({"SLURMKIT_HEALTH_CONF": str(tmp_path / "gone")}).kind_of("n1").name == ""
    with pytest.raises(HealthConfigError, match="no JSON"):
        read_own({"SLURMKIT_HEALTH_CONF": str(tmp_path / "h.json")})
    (tmp_path / "file").touch()
    with pytest.raises(HealthConfigError, match="Not a directory"):
        read_own({"SLURMKIT_HEALTH_CONF": str(tmp_path / "file/h.json")})
