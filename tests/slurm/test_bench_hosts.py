"""`slurmkit bench --hosts`: on machines without Slurm, over real sshds; one of them is slow."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox, SandboxError, SandboxUnavailableError, machine

pytestmark = pytest.mark.slurm
SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))


@pytest.fixture(scope="module")
def hosts() -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        sandbox = Sandbox.up(f"test-benchhosts-{os.getpid()}", nodes=3, gpus=0, cpus=8, sshd=True)
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster with sshd on this machine: {error.message}")
    with sandbox:
        yield sandbox


def test_the_slow_host_is_named(hosts: Sandbox) -> None:
    pytest.importorskip("torch")
    shape = ("root", "tbf", "rate", "40mbit", "burst", "32kb", "latency", "100ms")
    try:
        machine.in_room(hosts.layout, ["tc", "qdisc", "add", "dev", "v-node2", *shape])
    except SandboxError as error:
        pytest.skip(f"no tc, or no token bucket filter in this kernel: {error.message}")
    words = ("--via", "gloo", "--sizes", "128K", "--repetitions", "5", "--warm-up", "2", "--json")
    done = hosts.exec(
        "login",
        [SLURMKIT, "bench", "matrix", "--hosts", str(hosts.hosts_yaml), *words],
        cwd=hosts.shared_dir,
        env={"HOME": str(hosts.shared_dir), "OMP_NUM_THREADS": "1"},
        timeout=200,
    )
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["hosts"] == ["node1", "node2", "node3"]
    assert [item["name"] for item in result["findings"] if item["kind"] == "node"] == ["node2"]
    assert Path(result["run_dir"]).is_relative_to(hosts.shared_dir)
