"""The starter in Python: a rank that fails ends the others, which wait for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurmkit.resources import shipped_dir

_ONE_FAILS = '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || export SLURMKIT_CHECKPOINT_KEEP=few; exec "$@"'


def test_a_rank_that_fails_ends_all(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    mpirun = shutil.which("mpirun.openmpi")
    if mpirun is None:
        pytest.skip("Open MPI's mpirun is not installed")
    program = shipped_dir("templates") / "starters/mpi4py-sgd/sgd.py"
    words = [mpirun, "--allow-run-as-root", "--oversubscribe", "-n", "2"]
    env = {**os.environ, "MPI4PY_MPIABI": "openmpi", "OMPI_MCA_mpi_yield_when_idle": "1"}
    done = subprocess.run(
        [*words, "sh", "-c", _ONE_FAILS, "sh", sys.executable, program],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1  # and it has ended: else the time-out above
    assert "ValueError: invalid literal for int() with base 10: 'few'" in done.stderr
