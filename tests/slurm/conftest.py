"""Real Slurm clusters for the tests: made once per test run, removed whatever happens."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import Sandbox, SandboxUnavailableError, sandbox_names, take_down

_OURS = re.compile(r"test-[a-z]+-(\d+)")


@pytest.fixture(scope="session", autouse=True)
def _sweep() -> None:
    """Take down what test runs left that were killed."""
    if os.geteuid() != 0:
        return
    for name in sandbox_names():
        match = _OURS.fullmatch(name)
        if match and not Path("/proc", match[1]).exists():
            take_down(name)


def _make(release: str) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        sandbox = Sandbox.up(
            f"test-{release}-{os.getpid()}", nodes=4, gpus=8, cpus=64, release=release
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no {release} sandbox cluster on this machine: {error.message}")
    try:
        yield sandbox
    finally:
        sandbox.down()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Sandbox]:
    """A cluster of 4 nodes, 8 GPUs and 64 cores each, with this machine's own Slurm."""
    yield from _make("host")


@pytest.fixture(scope="session")
def forky_cluster() -> Iterator[Sandbox]:
    """The same with the Slurm of Debian forky."""
    yield from _make("forky")


@pytest.fixture(scope="session", params=["host", "forky"])
def any_cluster(request: pytest.FixtureRequest) -> Sandbox:
    """Each of both clusters in turn."""
    fixture = "cluster" if request.param == "host" else "forky_cluster"
    sandbox: Sandbox = request.getfixturevalue(fixture)
    return sandbox
