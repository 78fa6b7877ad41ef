"""Find the spank.h of the Slurm that runs, and the release it is of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import SlurmkitError

PREFIXES = (Path("/usr"), Path("/usr/local"), Path("/opt/slurm"), Path("/opt/slurm/current"))
_NUMBER = re.compile(r"^#define SLURM_VERSION_NUMBER 0x([0-9a-f]{6})\b", re.MULTILINE)


@dataclass(frozen=True)
class Headers:
    """Where ``slurm/spank.h`` is.

    Attributes:
        include_dir: the folder that holds ``slurm/``.
        version: release such as ``22.05.8``.
    """

    include_dir: Path
    version: str


def find_headers(prefixes: Sequence[Path] = PREFIXES) -> Headers:
    """Return the headers below the first prefix that has them.

    Args:
        prefixes: folders that Slurm may be installed in.

    Raises:
        SlurmkitError: none has them, or they name no release.
    """
    for prefix in prefixes:
        include_dir = prefix / "include"
        if (include_dir / "slurm/spank.h").is_file():
            path = include_dir / "slurm/slurm_version.h"
            try:
                return Headers(include_dir, parse_version(path.read_text(errors="replace")))
            except (OSError, ValueError) as error:
                raise SlurmkitError(f"{path} names no Slurm release: {error}") from error
    looked = ", ".join(str(prefix / "include/slurm") for prefix in prefixes)
    raise SlurmkitError(
        f"no spank.h in {looked}",
        hint="install them (Debian: libslurm-dev, RPM: slurm-devel), or say --slurm-prefix",
    )


def parse_version(text: str) -> str:
    """Return the release that slurm_version.h defines, such as ``22.05.8``.

    Raises:
        ValueError: it defines none.
    """
    match = _NUMBER.search(text)
    if not match:
        raise ValueError("no SLURM_VERSION_NUMBER in it")
    major, minor, micro = bytes.fromhex(match[1])
    return f"{major}.{minor:02d}.{micro}"


def series(version: str) -> str:
    """Return what a plugin has to share with the Slurm that loads it: ``22.05`` of ``22.05.8``."""
    return ".".join(version.split(".")[:2])
