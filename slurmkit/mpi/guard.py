"""The library that ends a rank whose MPI world is too small: plugins/mpi/guard.c, built here."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from slurmkit.resources import shipped_dir

_TIMEOUT_S = 60.0
_OPTIONS = ["-std=c11", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra"]
NAME = "mpi-guard.so"


def source() -> Path:
    """Return the guard's source."""
    return shipped_dir("plugins") / "mpi" / "guard.c"


def compiler(path: str | None = None) -> str | None:
    """Return a C compiler on PATH; None when there is none."""
    return next(
        (
            found
            for name in ("cc", "gcc", "clang", "icx")
            if (found := shutil.which(name, path=path))
        ),
        None,
    )


def build(folder: Path, *, path: str | None = None) -> Path | None:
    """Return the guard in a folder, built first where it is missing; None without a C compiler.

    The guard is a safety net, so nothing that goes wrong here is in the way of the job.

    Args:
        folder: where all nodes see it.
        path: where to look for the compiler; None: PATH.
    """
    target = folder / NAME
    if target.is_file():
        return target
    command = compiler(path)
    if command is None:
        return None
    temporary = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".mpi-guard-")
        os.close(handle)
        subprocess.run(
            [command, *_OPTIONS, "-o", temporary, str(source()), "-ldl"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=True,
        )  # fmt: skip
        Path(temporary).chmod(0o755)
        Path(temporary).rename(target)
    except (OSError, subprocess.SubprocessError):
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        return None
    return target
