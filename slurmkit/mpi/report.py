"""How the ranks of one program meet: the whole answer, for people, programs and batch scripts."""

import shlex

from slurmkit.mpi.choice import Choice, Refusal
from slurmkit.mpi.found import NAMES, Found, known_trouble
from slurmkit.record import Record

#: How lines of output name their rank, by the family of the mpirun.
_LABELS = {"openmpi": "openmpi"}


class Report(Record):
    """What was found and decided.

    Attributes:
        program: the command, for people.
        launcher: ``srun`` or ``mpirun``.
        found: the program's MPI; None when nobody knows.
        certain: whether the program itself loads it, instead of its being the one on PATH.
        plugins: what Slurm has; empty for mpirun.
        choice: what fits.
        refusal: why nothing does; None when something does.
        mpirun: the program to start ranks with; empty under srun.
        mpirun_family: whose it is.
        mpirun_major: the first number of its release.
        guard: file of the guard; empty for none.
    """

    program: str
    launcher: str
    found: Found | None = None
    certain: bool = False
    plugins: tuple[str, ...] = ()
    choice: Choice | None = None
    refusal: Refusal | None = None
    mpirun: str = ""
    mpirun_family: str = ""
    mpirun_major: int = 0
    guard: str = ""

    @property
    def trouble(self) -> str:
        """What is known to go wrong with the program's MPI; empty for nothing."""
        return known_trouble(self.found) if self.found is not None and self.certain else ""

    @property
    def why(self) -> str:
        """One line of explanation."""
        if self.refusal is not None:
            return self.refusal.reason
        if self.choice is not None:
            return self.choice.why
        whose = NAMES.get(self.mpirun_family, "an MPI")
        if self.found is None or not self.certain:
            return f"{self.mpirun} is {whose}'s; the program's own MPI is not known"
        return f"{self.found} is started by {self.mpirun}, which is {whose}'s"

    def exports(self, *, several_cpus: bool) -> str:
        """Return the shell lines that a batch script evaluates.

        Args:
            several_cpus: whether ranks have more than one CPU, to which mpirun would bind them.
        """
        lines = []
        if self.choice is not None:
            lines.append(f"mpi_plugin={shlex.quote(self.choice.plugin)}")
            lines += [f"export {name}={shlex.quote(value)}" for name, value in self.choice.env]
        else:
            options = " ".join(mpirun_options(self.mpirun_family, self.mpirun_major, several_cpus))
            lines.append(f"mpirun={shlex.quote(self.mpirun)}")
            lines.append(f"line_labels={_LABELS.get(self.mpirun_family, 'hydra')}")
            lines.append(f"mpirun_options=({options})")
        if self.certain and self.found is not None:
            lines.append(f"export SLURMKIT_MPI_SPEAKS={','.join(self.found.interfaces)}")
        if self.guard:
            lines.append(f"export SLURMKIT_MPI_GUARD={shlex.quote(self.guard)}")
        return "\n".join(lines)


def mpirun_options(family: str, major: int, several_cpus: bool) -> list[str]:
    """Return the options that every job's mpirun gets: lines that name their rank, no binding.

    Open MPI 5 renamed --tag-output (mpirun(1)); Hydra of MPICH and Intel MPI has -prepend-rank.
    """
    if family == "openmpi":
        tag = ["--output", "tag"] if major >= 5 else ["--tag-output"]
        return [*tag, *(["--bind-to", "none"] if several_cpus else [])]
    return ["-prepend-rank", *(["-bind-to", "none"] if several_cpus and family != "intel" else [])]
