"""mpi4py's own test suite passes when slurmkit starts its ranks, on two nodes."""

import importlib.metadata
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox

_SPEC = util.spec_from_file_location("mpi_desk", Path(__file__).with_name("mpi_desk.py"))
assert _SPEC
assert _SPEC.loader
mpi_desk = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mpi_desk)

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests of the release that is installed; the wheel does not carry them."""
    pytest.importorskip("mpi4py")
    version = importlib.metadata.version("mpi4py")
    folder = tmp_path_factory.mktemp("mpi4py")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
    command += [":all:", "--no-build-isolation", f"mpi4py=={version}", "--dest", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the package index does not answer, and the wheel of mpi4py has no tests")
    archives = list(folder.glob("mpi4py-*.tar.gz"))
    if done.returncode != 0 or not archives:
        pytest.skip(f"the source of mpi4py cannot be downloaded: {done.stderr.strip()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        members = [m for m in archive if "/test/" in m.name and m.isfile()]
        # Names of an archive from outside: only files, only below the folder.
        for member in members:
            assert ".." not in member.name
            assert not member.name.startswith("/")
            archive.extract(member, folder)
    return folder / f"mpi4py-{version}/test"


@pytest.fixture(scope="module")
def desk(cluster: Sandbox) -> Iterator[Any]:
    folder = cluster.shared_dir / f"mpi4py-{os.getpid()}"
    folder.mkdir()
    yield mpi_desk.Desk(cluster, folder)
    cluster.exec("login", ["scancel", "--user=root"], timeout=30)


def run(desk: Any, suite: Path, name: str, *options: str, timeout_s: int = 200) -> Any:
    target = desk.folder / name
    subprocess.run(["cp", "-r", suite, target], check=True)
    launch = {"command": ["python", "main.py", "--quiet", *options], "workdir": str(target)}
    # Each node has a /tmp of its own, and the tests of MPI-IO want one file for all ranks.
    desk.write(name, launch, 2, env={**mpi_desk.ENV, "TMPDIR": str(target)})
    return desk.submit(name, "--set", "resources.time=60m", timeout=timeout_s)


def check(result: Any) -> None:
    assert result.code == 0, result.said[-4000:]
    verdicts = [line for line in result.said.splitlines() if line.startswith("[rank")]
    assert sum("] OK" in line for line in verdicts) == 4, result.said[-4000:]
    assert not any("FAILED" in line for line in verdicts), result.said[-4000:]


def test_part_of_it(desk: Any, suite: Path) -> None:
    modules = ["test_group", "test_op", "test_p2p_obj$", "test_cco_vec$"]
    check(run(desk, suite, "part", *(word for name in modules for word in ("-i", name))))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_all_of_it(desk: Any, suite: Path) -> None:
    """All but what starts further processes, for which srun's allocation has no room, and windows.

    Between nodes the tests of windows (test_win; test_util_sync, too) end here with MPI_ERR_WIN
    under Debian's Open MPI 4.1. Why was not proven; a likely cause is that Debian's
    openmpi-mca-params.conf switches osc pt2pt and ucx off, and that the sandbox has no RDMA.
    """
    without = ("spawn", "dynproc", "test_win", "test_util_sync")
    options = [word for name in without for word in ("-e", name)]
    check(run(desk, suite, "all", *options, timeout_s=3500))
