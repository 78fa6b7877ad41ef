"""Which mpirun there is on this machine, and whether it can speak UCX."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slurmkit.errors import SlurmkitError

Family = Literal["openmpi", "mpich", "intel"]

_TIMEOUT_S = 30.0
_SAYINGS: tuple[tuple[Family, re.Pattern[str]], ...] = (
    ("openmpi", re.compile(r"\(Open MPI\) (\d[\w.]*)")),
    ("intel", re.compile(r"Intel\(R\) MPI Library.*?Version (\d[\w.]*)", re.DOTALL)),
    ("mpich", re.compile(r"HYDRA build details:\s+Version:\s+(\d[\w.]*)")),
)
# Where every shell looks: from there nothing needs to be told to the daemons on other hosts.
_USUAL_DIRS = ("/usr/bin", "/bin", "/usr/local/bin")


@dataclass(frozen=True)
class Mpirun:
    """An mpirun.

    Attributes:
        path: its absolute path.
        family: whose it is.
        version: its release, such as ``4.1.4``.
        has_ucx: whether it is an Open MPI whose point-to-point layer UCX can be.
    """

    path: str
    family: Family
    version: str
    has_ucx: bool = False

    @property
    def major(self) -> int:
        """The first number of the release."""
        return int(self.version.partition(".")[0])

    @property
    def prefix(self) -> str:
        """The folder of its installation; empty where every shell finds it without."""
        folder = str(Path(self.path).parent)
        return "" if folder in _USUAL_DIRS else str(Path(folder).parent)

    @property
    def title(self) -> str:
        """Name and release for people."""
        names = {"openmpi": "Open MPI", "mpich": "MPICH", "intel": "Intel MPI"}
        return f"{names[self.family]} {self.version}"


def parse_version(said: str) -> tuple[Family, str] | None:
    """Return family and release by what ``mpirun --version`` says; None for another program."""
    for family, pattern in _SAYINGS:
        if match := pattern.search(said):
            return family, match[1]
    return None


def find_mpirun(env: Mapping[str, str]) -> Mpirun:
    """Return the mpirun of an environment.

    Raises:
        SlurmkitError: there is none, or one that slurmkit does not know.
    """
    hint = "install Open MPI (Debian: openmpi-bin), or load its module in software:"
    path = shutil.which("mpirun", path=env.get("PATH"))
    if path is None:
        raise SlurmkitError("there is no mpirun on PATH", hint=hint)
    found = parse_version(_ask([path, "--version"], env))
    if found is None:
        raise SlurmkitError(f"{path} is neither Open MPI's nor MPICH's nor Intel's", hint=hint)
    family, version = found
    has_ucx = family == "openmpi" and _has_ucx(path, env)
    return Mpirun(path, family, version, has_ucx)


def _has_ucx(mpirun: str, env: Mapping[str, str]) -> bool:
    ompi_info = Path(mpirun).with_name("ompi_info")
    if not ompi_info.exists():
        return False
    said = _ask([str(ompi_info), "--parsable", "--param", "pml", "all"], env)
    return "mca:pml:ucx:" in said


def _ask(command: list[str], env: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command, env=dict(env), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise SlurmkitError(
            f"{command[0]} does not answer within {_TIMEOUT_S:g} s",
            hint="try it by hand; a folder in PATH may be on a file system that hangs",
        ) from None
    return done.stdout + done.stderr
