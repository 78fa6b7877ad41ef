"""Memory, CPUs, PCIe and RDMA ports, on prepared trees of /sys and /proc."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.health.counters import WINDOW_S, Counters
from slurmkit.health.verdict import Verdict
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile

Put = Callable[[str, str], None]
Say = Callable[..., Verdict]
Look = Callable[[str, float], Verdict]
GIB = 2**20  # in the kB of /proc/meminfo


def meminfo(total_gib: float, free_gib: float, **more: int) -> str:
    lines = [f"MemTotal: {int(total_gib * 2**20)} kB", f"MemAvailable: {int(free_gib * 2**20)} kB"]
    for name, value in more.items():
        lines.append(f"{name}: {value}" + (" kB" if name == "Hugepagesize" else ""))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("free", "expected"), [(50, "pass"), (9, "warn"), (1, "fail")], ids=["much", "some", "little"]
)
def test_memory(free: float, expected: str, put: Put, say: Say) -> None:
    put("proc/meminfo", meminfo(100, free))
    assert say("memory").verdict == expected


def test_unused_huge_pages(put: Put, say: Say) -> None:
    pages = {"HugePages_Total": 20000, "HugePages_Free": 10000, "Hugepagesize": 2048}
    put("proc/meminfo", meminfo(100, 50, **pages))
    assert say("hugepages").verdict == "warn"
    put("proc/meminfo", meminfo(100, 50, **{**pages, "HugePages_Free": 10}))
    assert say("hugepages").verdict == "pass"


def test_memory_that_is_missing(put: Put, say: Say) -> None:
    put("proc/meminfo", f"MemTotal: {960 * GIB} kB\n")
    assert say("memory-size").verdict == "skipped"
    assert say("memory-size", memory_mib=980 * 1024).verdict == "pass"
    found = say("memory-size", memory_mib=1024 * 1024)
    assert (found.verdict, found.drains) == ("fail", True)


def test_memory_errors(put: Put, say: Say) -> None:
    assert say("memory-errors").verdict == "skipped"
    for name, corrected, uncorrected in (("mc0", 5, 0), ("mc1", 0, 0)):
        put(f"sys/devices/system/edac/mc/{name}/ce_count", f"{corrected}\n")
        put(f"sys/devices/system/edac/mc/{name}/ue_count", f"{uncorrected}\n")
    assert say("memory-errors").verdict == "pass"
    put("sys/devices/system/edac/mc/mc0/ce_count", "500\n")
    assert say("memory-errors").verdict == "warn"
    put("sys/devices/system/edac/mc/mc1/ue_count", "1\n")
    found = say("memory-errors")
    assert (found.verdict, found.detail) == ("fail", "mc1: 1 uncorrected errors")


def test_cpus_that_are_offline(put: Put, say: Say) -> None:
    assert say("cpu-count").verdict == "skipped"
    put("sys/devices/system/cpu/online", "0-6\n")
    put("sys/devices/system/cpu/present", "0-7\n")
    assert say("cpu-count").detail == "7 of 8 CPUs are online"
    assert say("cpu-count", num_cpus=7).verdict == "pass"


def test_cpu_frequency(put: Put, say: Say) -> None:
    assert say("cpu-frequency").verdict == "skipped"
    place = "sys/devices/system/cpu/cpu0/cpufreq"
    for name, value in (
        ("scaling_governor", "powersave"),
        ("scaling_driver", "intel_pstate"),
        ("cpuinfo_max_freq", "4000000"),
        ("scaling_max_freq", "4000000"),
    ):
        put(f"{place}/{name}", value)
    assert say("cpu-frequency").verdict == "pass"
    put(f"{place}/scaling_max_freq", "2000000")
    assert "may not reach" in say("cpu-frequency").detail
    put(f"{place}/scaling_driver", "acpi-cpufreq")
    assert "powersave" in say("cpu-frequency").detail


def test_sockets_that_are_too_hot(put: Put, look: Look) -> None:
    place = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
    put(place, "100")
    assert look("cpu-throttling", 0).verdict == "pass"
    put(place, "900")
    assert look("cpu-throttling", 0.1).verdict == "warn"


def test_gpu_count(tmp_path: Path, put: Put, say: Say) -> None:
    write_sysfs(load_profile("dgx-h100"), tmp_path)
    for index in range(8):
        put(f"dev/nvidia{index}", "")
    put("dev/nvidiactl", "")
    assert say("gpu-count").verdict == "pass"
    assert say("gpu-count", num_gpus=8).verdict == "pass"
    (tmp_path / "dev/nvidia3").unlink()
    found = say("gpu-count")
    assert (found.verdict, found.drains) == ("fail", True)
    assert "7" in found.detail
    assert say("gpu-count", root=tmp_path / "bare").verdict == "skipped"
    assert say("gpu-count", root=tmp_path / "bare", num_gpus=4).verdict == "fail"


def test_pcie_links(tmp_path: Path, say: Say) -> None:
    write_sysfs(load_profile("dgx-h100"), tmp_path)
    assert say("pcie-link").verdict == "skipped"
    folders = []
    for path in (tmp_path / "sys/bus/pci/devices").iterdir():
        kind = (path / "class").read_text()
        if kind.startswith(("0x0302", "0x0207")) and (path / "max_link_width").exists():
            (path / "current_link_width").write_text((path / "max_link_width").read_text())
            (path / "current_link_speed").write_text((path / "max_link_speed").read_text())
            folders.append((path, kind))
    assert len(folders) >= 16
    assert say("pcie-link").verdict == "pass"
    gpu = next(path for path, kind in folders if kind.startswith("0x0302"))
    nic = next(path for path, kind in folders if kind.startswith("0x0207"))
    speed = (gpu / "current_link_speed").read_text()
    (gpu / "current_link_speed").write_text("2.5 GT/s PCIe\n")  # as an idle GPU does
    assert say("pcie-link").verdict == "warn"
    (gpu / "current_link_speed").write_text(speed)
    (gpu / "current_link_width").write_text("8\n")
    found = say("pcie-link")
    assert (found.verdict, found.drains) == ("fail", True)
    assert f"GPU {gpu.name} has 8 of 16 lanes" in found.detail
    (gpu / "current_link_width").write_text("0\n")  # as a virtual function does
    assert say("pcie-link").verdict == "pass"
    (gpu / "current_link_width").write_text("16\n")
    (nic / "current_link_speed").write_text("8.0 GT/s PCIe\n")
    assert "mlx5_" in say("pcie-link").detail
    # A slot that can do no more is no fault of the card.
    (nic.resolve().parent / "max_link_speed").write_text("8.0 GT/s PCIe\n")
    assert say("pcie-link").verdict == "pass"


def fabric(tmp_path: Path) -> list[Path]:
    topology: Topology = load_profile("dgx-h100")
    write_sysfs(topology, tmp_path)
    ports = []
    for device in sorted((tmp_path / "sys/class/infiniband").iterdir()):
        (device.resolve() / "board_id").write_text("MT_0\n")
        port = device.resolve() / "ports/1"
        port.mkdir(parents=True, exist_ok=True)
        (port / "state").write_text("4: ACTIVE\n")
        (port / "rate").write_text("400 Gb/sec (4X NDR)\n")
        (port / "link_layer").write_text("InfiniBand\n")
        ports.append(port)
    return ports


def test_rdma_ports(tmp_path: Path, say: Say) -> None:
    ports = fabric(tmp_path)
    assert len(ports) > 4
    assert say("rdma-ports").verdict == "pass"
    (ports[2] / "rate").write_text("200 Gb/sec (2X NDR)\n")
    found = say("rdma-ports")
    assert (found.verdict, found.drains) == ("fail", True)
    assert "200 of 400" in found.detail
    (ports[2] / "rate").write_text("400 Gb/sec (4X NDR)\n")
    (ports[2] / "state").write_text("1: DOWN\n")
    assert "DOWN" in say("rdma-ports").detail
    for port in ports:
        (port / "state").write_text("1: DOWN\n")
    assert say("rdma-ports").verdict == "warn"
    assert say("rdma-ports", root=tmp_path / "bare").verdict == "skipped"


def port(put: Put, **counts: int) -> None:
    for name, value in counts.items():
        place = "sys/class/infiniband/mlx5_0/ports/1/counters"
        put(f"{place}/{name}", f"{value}\n")


def test_errors_of_ports_count_when_they_grow(put: Put, say: Say, look: Look) -> None:
    assert say("rdma-errors").verdict == "skipped"
    port(put, symbol_error=50_000, link_downed=3)
    assert say("rdma-errors").verdict == "skipped"
    assert look("rdma-errors", 0).verdict == "pass"
    assert look("rdma-errors", 0.1).verdict == "pass"
    port(put, symbol_error=50_100)
    found = look("rdma-errors", 0.2)
    assert (found.verdict, found.detail) == ("warn", "mlx5_0/1/symbol_error +100")
    port(put, symbol_error=90_000)
    assert look("rdma-errors", 0.3).verdict == "fail"
    # Two windows later nothing has come in.
    assert look("rdma-errors", 1.5).verdict == "fail"
    assert look("rdma-errors", 3).verdict == "pass"


def test_links_that_flap(put: Put, look: Look) -> None:
    port(put, link_downed=3)
    assert look("link-flaps", 0).verdict == "pass"
    port(put, link_downed=4)
    assert look("link-flaps", 0.1).verdict == "warn"
    port(put, link_downed=8)
    found = look("link-flaps", 0.2)
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
