"""Compile the shipped plugins against the headers of one Slurm release."""

import os
import shutil
import subprocess
from pathlib import Path

from slurmkit import __version__
from slurmkit.admin.headers import Headers, series
from slurmkit.errors import SlurmkitError
from slurmkit.resources import shipped_dir

PLUGINS = ("spank_slurmkit_rank.so", "spank_slurmkit_affinity.so")
_TIMEOUT_S = 120.0


def default_output(headers: Headers) -> Path:
    """Return where ``build`` leaves the plugins and ``install`` looks for them: one per series."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "slurmkit" / "plugins" / series(headers.version)


def build(headers: Headers, output: Path) -> list[Path]:
    """Build both plugins and return their files.

    Args:
        headers: the headers of the Slurm that will load them.
        output: folder for the plugins; made where it is missing.

    Raises:
        SlurmkitError: make or a compiler is missing, or fails; the message has its words.
    """
    source = shipped_dir("plugins") / "spank"
    for program, package in (("make", "make"), (os.environ.get("CC") or "cc", "gcc")):
        if not shutil.which(program):
            raise SlurmkitError(
                f"{program} is missing on this machine",
                hint=f"install it (Debian: apt-get install {package})",
            )
    output.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            *(
                "make",
                "--always-make",
                "--no-print-directory",
                f"--directory={source}",
                f"OUT={output.resolve()}",
            ),
            *(f"SLURM_INCLUDE={headers.include_dir}", f"VERSION={__version__}"),
            "all",
        ],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise SlurmkitError(
            f"the plugins do not build against Slurm {headers.version}:\n{done.stderr.strip()}"
        )
    return [output / name for name in PLUGINS]
