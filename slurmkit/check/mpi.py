"""Checks of how the ranks of an MPI program meet."""

from slurmkit.check.registry import About, Problems, local, on_cluster
from slurmkit.check.subject import Subject
from slurmkit.limits import Limits
from slurmkit.mpi.choice import Refusal, choose
from slurmkit.mpi.found import NAMES
from slurmkit.mpi.look import Look


def known_mpi(subject: Subject) -> Look | None:
    """Return the MPI that the program loads here; None when only the job will know."""
    seen = subject.facts.mpi
    return seen if seen is not None and seen.certain else None


@on_cluster(
    About(
        "mpi-unfit",
        "Slurm has a plugin that the program's MPI can use, and a plugin that is named is one.",
        "MPICH 4.0.2 cannot use Slurm's plugin pmix: each of 4 ranks would be a world of its own",
    )
)
def mpi_unfit(subject: Subject, limits: Limits) -> Problems:
    """Find programs whose ranks would not meet."""
    seen, launch = known_mpi(subject), subject.spec.launch
    if seen is None or launch.launcher != "srun" or not limits.mpi_plugins:
        return
    wanted = subject.plan.step.mpi or "auto"
    if wanted != "auto" and wanted not in limits.mpi_plugins:
        return  # mpi-plugin-missing says so
    chosen = choose(
        seen.found,
        limits.mpi_plugins,
        wanted=wanted,
        # The library of Slurm's that Intel MPI needs is that of the nodes.
        libraries={"pmi2": "libpmi2.so"},
        num_ranks=subject.request.shape.num_tasks,
    )
    if isinstance(chosen, Refusal):
        hint = f"{chosen.hint[0].upper()}{chosen.hint[1:]}."
        yield subject.problem("launch.mpi", chosen.reason, hint)


@local(
    About(
        "mpi-library-missing",
        "The MPI library that the program was linked with is found.",
        "./solver needs libmpi.so.40, which is not found on this machine",
        warning=True,
    )
)
def mpi_library_missing(subject: Subject) -> Problems:
    """Find programs whose module was forgotten; only compute nodes may have the library."""
    seen = subject.facts.mpi
    if seen is not None and seen.missing:
        yield subject.problem(
            "launch.command.0",
            f"{subject.spec.launch.command[0]} needs {seen.missing}, which is not found on this"
            " machine",
            "Load the module of the MPI that it was built with under software.",
        )


@local(
    About(
        "mpirun-foreign",
        "Under launcher: mpirun, there is an mpirun of the program's own MPI.",
        "the program is built with MPICH, and no mpirun on PATH is MPICH's",
    )
)
def mpirun_foreign(subject: Subject) -> Problems:
    """Find programs that another MPI's mpirun would start as worlds of one rank."""
    seen = known_mpi(subject)
    if seen is None or seen.found is None or subject.spec.launch.launcher != "mpirun":
        return
    if subject.facts.mpirun == "":
        name = NAMES[seen.found.family]
        yield subject.problem(
            "launch.launcher",
            f"the program is built with {name}, and no mpirun on PATH is {name}'s",
            "Write launcher: srun, or load its module under software.",
        )
