"""A cluster per test worker, and a lab per test; seeds are printed and can be given."""

import os
import re
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox, SandboxUnavailableError, sandbox_names, take_down

_SPEC = util.spec_from_file_location("faults_lab", Path(__file__).with_name("lab.py"))
assert _SPEC
assert _SPEC.loader
lab_module = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(lab_module)

_OURS = re.compile(r"test-faults[a-z]*-(\d+)")


@pytest.fixture(scope="session", autouse=True)
def _sweep() -> None:
    """Take down what test runs left that were killed."""
    if os.geteuid() != 0:
        return
    for name in sandbox_names():
        match = _OURS.fullmatch(name)
        if match and not Path("/proc", match[1]).exists():
            take_down(name)


@pytest.fixture(scope="session")
def fault_cluster() -> Iterator[Sandbox]:
    """Four small nodes without GPUs, one of whose partitions pushes jobs of the others aside."""
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        sandbox = Sandbox.up(
            f"test-faults-{os.getpid()}", nodes=4, gpus=0, cpus=8, preempt_grace_s=5
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        yield sandbox
    finally:
        sandbox.down()


@pytest.fixture(scope="session")
def undisturbed(fault_cluster: Sandbox) -> Any:
    """The training program's run that nothing disturbs: what all others are compared with.

    A function of the program's options and the sections of job.yaml.
    """
    known: dict[str, Any] = {}

    def run(*options: object, **sections: str) -> Any:
        key = f"{options} {sections}"
        if key not in known:
            folder = fault_cluster.shared_dir / f"undisturbed-{len(known)}"
            folder.mkdir()
            made = lab_module.Lab(fault_cluster, folder, 0)
            known[key] = made.train("undisturbed", *options, "--pace", 0, **sections)
            known[key].until_done()
            known[key].until_gone()
        return known[key]

    return run


@pytest.fixture
def lab(fault_cluster: Sandbox, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A folder on the cluster; afterwards no job is left, and every host is mended."""
    seed = int(os.environ.get("FAULTS_SEED") or int.from_bytes(os.urandom(3), "big"))
    print(f"FAULTS_SEED={seed}")  # pytest shows it when the test fails
    folder = fault_cluster.shared_dir / re.sub(r"\W+", "-", request.node.name)
    folder.mkdir()
    made = lab_module.Lab(fault_cluster, folder, seed)
    yield made
    made.clean_up()
