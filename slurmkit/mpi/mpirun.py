"""The mpirun that starts a program where no batch script looks for it: here, or on hosts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slurmkit.errors import SlurmkitError
from slurmkit.mpi.found import NAMES, Found
from slurmkit.mpi.look import Look, launcher_of, look


def find_mpirun(command: Sequence[str], env: Mapping[str, str], workdir: Path) -> tuple[str, Found]:
    """Return the mpirun that belongs to a program's MPI, and what it says of itself.

    Args:
        command: an MPI program and its arguments; empty for any other, which any mpirun starts.
        env: the environment, for PATH and the linker.
        workdir: the folder that it runs in.

    Raises:
        SlurmkitError: there is none on PATH, or the program's MPI is not here.
    """
    seen = look(command, env, workdir) if command else Look(None)
    if seen.missing:
        raise SlurmkitError(
            f"{command[0]} needs {seen.missing}, which is not found on this machine",
            hint="load the module of the MPI that it was built with in software:",
        )
    started = launcher_of(seen.own, env)
    if started is None:
        of = f" of {NAMES[seen.own.family]}, which {command[0]} uses," if seen.own else ""
        raise SlurmkitError(
            f"there is no mpirun{of} on PATH",
            hint="install it (Debian: openmpi-bin or mpich), or load its module in software:",
        )
    return started
