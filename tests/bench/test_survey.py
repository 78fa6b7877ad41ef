"""From a fabric's description of 1,000 nodes to the file that Slurm reads."""

import runpy
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from slurmkit.hostlist import expand
from slurmkit.site.generate.release import Release
from slurmkit.topology.fabric import slurm_topology
from slurmkit.topology.fabric.load import load_fabric

FABRICS = Path(__file__).parents[1] / "fixtures" / "fabric" / "fabrics.py"
made = SimpleNamespace(**runpy.run_path(str(FABRICS)))
ROUNDS = 5


def _median_s(path: Path, release: str) -> tuple[float, str]:
    times_s = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        (text,) = slurm_topology(load_fabric([path]), Release.parse(release)).values()
        times_s.append(time.perf_counter() - started)
    return statistics.median(times_s), text


def _nodes_once(text: str, word: str) -> set[str]:
    lists = [line.partition(word)[2].strip(' "\n') for line in text.splitlines() if word in line]
    counts = Counter(host for hosts in lists for host in expand(hosts))
    assert set(counts.values()) == {1}
    return set(counts)


def test_a_thousand_nodes_of_ibnetdiscover(
    tmp_path: Path, figure: Callable[[str, str, str], None]
) -> None:
    """8,000 adapters and 260 switches in two pods."""
    path = tmp_path / "ib.txt"
    nodes = [f"gpu{number:04d}" for number in range(1, 1001)]
    path.write_text(made.ibnetdiscover(made.Fabric(nodes, pods=2)))
    took_s, text = _median_s(path, "22.05")
    assert _nodes_once(text, "Nodes=") == set(nodes)
    size_mb = path.stat().st_size / 1e6
    what = f"ibnetdiscover of 1,000 nodes ({size_mb:.1f} MB) to topology.conf"
    figure(what, f"{took_s:.2f} s", "2 s")


def test_ibdiagnet_of_a_thousand_nodes(
    tmp_path: Path, figure: Callable[[str, str, str], None]
) -> None:
    path = tmp_path / "ibdiagnet2.lst"
    nodes = [f"gpu{number:04d}" for number in range(1, 1001)]
    path.write_text(made.lst(made.Fabric(nodes, pods=2)))
    took_s, text = _median_s(path, "26.05")
    assert _nodes_once(text, "nodes: ") == set(nodes)
    figure("ibdiagnet2.lst of 1,000 nodes to topology.yaml", f"{took_s:.2f} s", "2 s")


def test_fifty_six_racks_of_nvl72(tmp_path: Path, figure: Callable[[str, str, str], None]) -> None:
    path = tmp_path / "racks.csv"
    path.write_text(made.nvl72(56))
    took_s, text = _median_s(path, "24.11")
    assert len(_nodes_once(text, "Nodes=")) == 56 * 18
    figure("table of 56 NVL72 racks (1,008 trays) to blocks", f"{took_s:.2f} s", "2 s")
