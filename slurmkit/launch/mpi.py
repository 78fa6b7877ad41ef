"""Before a rank of an MPI job starts: refuse what would end as many worlds of one rank."""

import os

from slurmkit.launch.placement import wrong
from slurmkit.launch.variables import Placement
from slurmkit.mpi.elf import family_of, needed
from slurmkit.mpi.match import mismatch

#: Set by the batch script of an MPI job; where it is not, nothing of this is done.
MARK = "SLURMKIT_MPI"
_SITE_PARAMETERS = "/etc/openmpi/openmpi-mca-params.conf"


def before_program(env: dict[str, str], place: Placement, program: str) -> None:
    """Hold the program's MPI against the launcher, and have the guard look after MPI_Init.

    SLURMKIT_MPI_CHECK=off leaves out both.

    Args:
        env: the environment of the task; the guard is added to LD_PRELOAD.
        place: the task's place.
        program: the first word of the command.

    Raises:
        UsageError: the ranks would not meet.
    """
    if env.get("SLURMKIT_MPI_CHECK") == "off":
        return
    _check_count(env, place)
    family = _family(program, env)
    speaks = tuple(name for name in env.get("SLURMKIT_MPI_SPEAKS", "").split(",") if name)
    reason = mismatch(family, speaks, env) if place.world_size > 1 else ""
    if reason:
        raise wrong(
            f"the {place.world_size} ranks of {program} would not meet: {reason}",
            f"write launch.mpi: auto; `slurmkit mpi {program}` says what fits",
        )
    guard = env.get("SLURMKIT_MPI_GUARD", "off")
    if guard != "off" and os.access(guard, os.R_OK):
        before = env.get("LD_PRELOAD")
        env["LD_PRELOAD"] = f"{guard}:{before}" if before else guard
        env["SLURMKIT_MPI_WORLD"] = str(place.world_size)
    if place.local_world_size < place.world_size:
        _leave_loopback(env)


def _check_count(env: dict[str, str], place: Placement) -> None:
    """Compare the ranks that mpirun has started with those that the job asked for."""
    wanted = env.get("SLURMKIT_MPI_RANKS", "")
    if wanted.isdigit() and place.world_size != int(wanted):
        raise wrong(
            f"mpirun has started {place.world_size} ranks, and the job asked for {wanted}",
            "this mpirun does not read Slurm's allocation; write launcher: srun",
        )


def _family(program: str, env: dict[str, str]) -> str:
    for folder in [""] if "/" in program else env.get("PATH", os.defpath).split(":"):
        path = f"{folder}/{program}" if folder else program
        try:
            return family_of(needed(path))
        except OSError:
            continue
    return ""


def _leave_loopback(env: dict[str, str]) -> None:
    """Undo a setting for single machines: Debian's Open MPI 5 and 6 use TCP over lo alone.

    Seen: 6.0.0~rc2-2, btl_tcp_if_include in openmpi-mca-params.conf.
    """
    name = "OMPI_MCA_btl_tcp_if_include"
    if env.get(name) or env.get("OMPI_MCA_btl_tcp_if_exclude"):
        return
    try:
        with open(_SITE_PARAMETERS, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            lines = [line.replace(" ", "").strip() for line in file]
    except OSError:
        return
    if "btl_tcp_if_include=lo" in lines:
        from slurmkit.launch.interface import interface_to  # noqa: PLC0415 (sockets, only here)

        interface = interface_to(env.get("MASTER_ADDR", ""))
        if interface:
            env[name] = interface
