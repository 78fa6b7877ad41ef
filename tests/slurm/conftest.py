"""Real Slurm clusters for the tests: made once per test run, removed whatever happens."""

import os
from collections.abc import Iterator

import pytest

from slurmkit.errors import SlurmkitError
from slurmkit.sandbox import Sandbox


def _make(kind: str, release: str) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        sandbox = Sandbox.up(f"test-{kind}-{os.getpid()}", release=release)
    except SlurmkitError as error:
        pytest.skip(f"no {release} sandbox cluster on this machine: {error.message}")
    try:
        yield sandbox
    finally:
        sandbox.down()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Sandbox]:
    """A cluster of 4 nodes, 8 GPUs and 64 cores each, with this machine's own Slurm."""
    yield from _make("host", "host")


@pytest.fixture(scope="session")
def forky_cluster() -> Iterator[Sandbox]:
    """The same with the Slurm of Debian forky."""
    yield from _make("forky", "forky")


@pytest.fixture(scope="session", params=["host", "forky"])
def any_cluster(request: pytest.FixtureRequest) -> Sandbox:
    """Each of both clusters in turn."""
    fixture = "cluster" if request.param == "host" else "forky_cluster"
    sandbox: Sandbox = request.getfixturevalue(fixture)
    return sandbox
