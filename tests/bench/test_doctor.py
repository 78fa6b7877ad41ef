"""What the GID index costs a rank, and how long doctor takes: for some nodes, and for many."""

import os
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.doctor.link import passed
from slurmkit.doctor.node import HostReport
from slurmkit.doctor.registry import all_links
from slurmkit.doctor.report import make_report
from slurmkit.errors import SlurmkitError
from slurmkit.launch.gid import set_gid_index
from slurmkit.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
Figure = Callable[[str, str, str], None]


def test_the_gid_index_costs_a_rank_little(tmp_path: Path, figure: Figure) -> None:
    parts = runpy.run_path(str(ROOT / "tests/unit/fabric/test_gids.py"))
    parts["node"](tmp_path, 3)

    def find() -> float:
        started = time.perf_counter()
        set_gid_index({"SLURMKIT_GID": "auto"}, parts["_PLACE"], str(tmp_path))
        return time.perf_counter() - started

    finding_s = statistics.median(find() for _ in range(51))
    code = (
        "import time, slurmkit.launch.main; started = time.perf_counter(); "
        "import slurmkit.launch.gid; print(time.perf_counter() - started)"
    )
    # An empty value: byte code is kept, as on a user's machine.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}

    def load() -> float:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=env, capture_output=True, check=True, timeout=30)
        return float(done.stdout)

    load()
    loading_s = statistics.median(load() for _ in range(11))
    took = f"{1000 * finding_s:.1f} ms and {1000 * loading_s:.1f} ms to load it"
    figure("GID index of 4 HCAs, added to a rank", took, "<= 5 ms together")


def test_a_thousand_hosts_are_compared_quickly(figure: Figure) -> None:
    links = all_links()
    facts = {f"fact {at}": "the same" for at in range(8)}
    reports = []
    for at in range(1000):
        odd = {"fact 3": "other"} if at % 97 == 0 else {}
        answers = {link.id: passed("fine", {**facts, **odd}) for link in links}
        reports.append(HostReport(f"node{at:04d}", 0.0, (), answers))
    started = time.perf_counter()
    report = make_report(links, reports, {})
    took_s = time.perf_counter() - started
    assert report.verdict == "fail"
    figure(f"doctor: {len(links)} links of 1000 hosts compared", f"{1000 * took_s:.0f} ms", "")


@pytest.fixture
def cluster() -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        sandbox = Sandbox.up(f"bench-doctor-{os.getpid()}", nodes=4, gpus=0, cpus=8)
    except SlurmkitError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        yield sandbox
    finally:
        sandbox.down()


def test_doctor_on_four_nodes(cluster: Sandbox, figure: Figure) -> None:
    words = [str(Path(sys.executable).with_name("slurmkit")), "doctor", "--nodes", "4"]
    words += ["--shared", str(cluster.shared_dir)]

    def ask() -> float:
        started = time.perf_counter()
        cluster.exec("login", words, check=True)
        return time.perf_counter() - started

    ask()
    took_s = statistics.median(ask() for _ in range(5))
    figure("slurmkit doctor --nodes 4, 29 links, its own job", f"{took_s:.1f} s", "")
