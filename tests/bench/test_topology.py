"""Discovering a node, on the critical path of every rank that binds itself."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from slurmkit.topology.discover import discover
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import Nic, Port, Topology
from slurmkit.topology.profile import load_profile


def _b300() -> Topology:
    """8 GPUs, 24 HCAs with four GIDs each, 256 CPUs: the largest node in the profiles."""
    node = load_profile("dgx-b300")
    prefix = "RoCE v2:0000:0000:0000:0000:0000:ffff:0a00"
    gids = tuple(f"{index}:{prefix}:{index:04x}" for index in range(4))
    port = Port(1, "ACTIVE", 400.0, "Ethernet", gids)
    more = [Nic(f"mlx5_{30 + number}", "", number % 2) for number in range(24 - len(node.nics))]
    nics = (*node.nics, *more)
    return node.replace(nics=tuple(nic.replace(ports=(port,), provider="mlx5") for nic in nics))


def test_discovery_of_8_gpus_and_24_hcas(
    benchmark: BenchmarkFixture, tmp_path: Path, figure: Callable[[str, str, str], None]
) -> None:
    write_sysfs(_b300(), tmp_path)
    root = str(tmp_path)
    times_s = []
    for _ in range(20):
        started = time.perf_counter()
        found = discover(root)
        times_s.append(time.perf_counter() - started)
    assert (len(found.gpus), len(found.nics)) == (8, 24)
    benchmark(discover, root)
    median_ms = statistics.median(times_s) * 1e3
    figure("discover 8 GPUs, 24 HCAs, 256 CPUs", f"{median_ms:.1f} ms", "50 ms")


def test_discovery_with_its_imports(
    tmp_path: Path, figure: Callable[[str, str, str], None]
) -> None:
    """What a fresh process pays: imports and discovery, without the interpreter's own start."""
    write_sysfs(_b300(), tmp_path)
    code = (
        "import time; started = time.perf_counter()\n"
        "from slurmkit.topology.discover import discover\n"
        f"discover({str(tmp_path)!r})\n"
        "print(time.perf_counter() - started)"
    )
    times_s = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(10)
    ]
    median_ms = statistics.median(times_s) * 1e3
    figure("import and discover, fresh process", f"{median_ms:.1f} ms", "50 ms")
