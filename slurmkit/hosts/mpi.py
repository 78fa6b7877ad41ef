"""Which mpirun there is on this machine, and whether it can speak UCX."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slurmkit.errors import SlurmkitError
from slurmkit.mpi.found import NAMES
from slurmkit.mpi.mpirun import find_mpirun

Family = Literal["openmpi", "mpich", "intel"]

_TIMEOUT_S = 30.0
# MVAPICH has MPICH's Hydra.
_FAMILIES: dict[str, Family] = {
    "openmpi": "openmpi",
    "mpich": "mpich",
    "mvapich": "mpich",
    "intel": "intel",
}
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
        first = self.version.partition(".")[0]
        return int(first) if first.isdigit() else 0

    @property
    def prefix(self) -> str:
        """The folder of its installation; empty where every shell finds it without."""
        folder = str(Path(self.path).parent)
        return "" if folder in _USUAL_DIRS else str(Path(folder).parent)

    @property
    def daemon(self) -> str:
        """The program that it starts on every host; empty where it does not lie beside it.

        MPICH's mpirun waits for ever on a host that lacks it (seen: 4.0.2).
        """
        five = self.family == "openmpi" and self.major >= 5
        names = {"openmpi": "prted" if five else "orted"}
        path = Path(self.path).with_name(names.get(self.family, "hydra_pmi_proxy"))
        return str(path) if path.exists() else ""

    @property
    def title(self) -> str:
        """Name and release for people."""
        return f"{NAMES[self.family]} {self.version}"


def ssh_mpirun(command: Sequence[str], env: Mapping[str, str], workdir: Path) -> Mpirun:
    """Return the mpirun that starts a program over SSH.

    Args:
        command: an MPI program and its arguments; empty for any other, which any mpirun starts.
        env: the environment, for PATH and the linker.
        workdir: the folder that it runs in.

    Raises:
        SlurmkitError: there is none, or none that starts ranks over SSH as slurmkit knows it.
    """
    path, said = find_mpirun(command, env, workdir)
    family = _FAMILIES.get(said.family)
    if family is None:
        raise SlurmkitError(
            f"{path} is {NAMES[said.family]}'s, which needs a scheduler",
            hint="load the module of another MPI in software:",
        )
    has_ucx = family == "openmpi" and _has_ucx(path, env)
    return Mpirun(path, family, said.version, has_ucx)


def version_line(mpirun: Mpirun, env: Mapping[str, str]) -> str:
    """Return the first line that ``mpirun --version`` prints here; hosts have to say the same."""
    said = _ask([mpirun.path, "--version"], env).splitlines()
    return said[0] if said else ""


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
