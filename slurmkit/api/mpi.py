"""How the ranks of a program meet: what ``slurmkit mpi`` prints and batch scripts evaluate."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import EXIT_REFUSED, SlurmkitError
from slurmkit.mpi.choice import Refusal, choose
from slurmkit.mpi.found import NAMES
from slurmkit.mpi.guard import build
from slurmkit.mpi.look import Look, environment, launcher_of, look, pmi_libraries
from slurmkit.mpi.report import Report
from slurmkit.slurm.runner import Runner

_CHECK = "SLURMKIT_MPI_CHECK"


class MpiError(SlurmkitError):
    """Nothing fits the program's MPI."""

    exit_code = EXIT_REFUSED


@dataclass(frozen=True)
class MpiFound:
    """An MPI.

    Attributes:
        family: ``openmpi``, ``mpich``, ``intel``, ``mvapich`` or ``cray``.
        name: what people call it.
        version: its release.
        interfaces: the kinds of PMI that it speaks, best first: ``pmix``, ``pmi2``, ``pmi1``.
        library: file of the library; empty when a program on PATH was asked.
        source: who said so.
        certain: whether the program itself loads it.
    """

    family: str
    name: str
    version: str
    interfaces: list[str]
    library: str
    source: str
    certain: bool


@dataclass(frozen=True)
class MpiAnswer:
    """How the ranks of a program meet.

    Attributes:
        program: the command.
        launcher: ``srun`` or ``mpirun``.
        mpi: the program's MPI, or that on PATH; null when there is none.
        plugins: what ``srun --mpi=list`` names; empty for mpirun.
        plugin: what fits; null when nothing does, and for mpirun.
        env: variables that the MPI needs for that.
        mpirun: file of the mpirun of that MPI; null for srun.
        fits: whether anything does.
        why: one line of explanation.
        hint: what to do when nothing fits.
        trouble: what is known to go wrong with this release; empty for nothing.
    """

    program: str
    launcher: str
    mpi: MpiFound | None
    plugins: list[str]
    plugin: str | None
    env: dict[str, str]
    mpirun: str | None
    fits: bool
    why: str
    hint: str
    trouble: str


def answer(report: Report) -> MpiAnswer:
    """Return a report as ``slurmkit mpi --json`` prints it."""
    found, choice, refusal = report.found, report.choice, report.refusal
    return MpiAnswer(
        program=report.program,
        launcher=report.launcher,
        mpi=None
        if found is None
        else MpiFound(
            found.family,
            NAMES[found.family],
            found.version,
            list(found.interfaces),
            found.library,
            found.source,
            report.certain,
        ),
        plugins=list(report.plugins),
        plugin=choice.plugin if choice else None,
        env=dict(choice.env) if choice else {},
        mpirun=report.mpirun or None,
        fits=refusal is None,
        why=report.why,
        hint=refusal.hint if refusal else "",
        trouble=report.trouble,
    )


def describe_mpi(
    command: Sequence[str],
    *,
    launcher: str = "srun",
    plugin: str = "auto",
    plugins: str | None = None,
    num_ranks: int = 2,
) -> Report:
    """Return which MPI a program uses and how its ranks meet.

    Args:
        command: the program and its arguments; empty for the MPI on PATH.
        launcher: ``srun`` or ``mpirun``.
        plugin: the plugin of Slurm that somebody named; ``auto`` for none.
        plugins: what ``srun --mpi=list`` printed; None asks it.
        num_ranks: how many ranks are to meet.

    Raises:
        SlurmError: ``srun --mpi=list`` does not answer.
    """
    env = environment()
    seen = look(command, env, Path.cwd())
    report = Report(" ".join(command), launcher, seen.found, seen.certain)
    checks = os.environ.get(_CHECK) != "off"
    if seen.missing or (seen.absent and checks):
        return report.replace(refusal=_missing(command, seen))
    if launcher == "mpirun":
        return _by_mpirun(report, seen)
    if plugins is None:
        asked = Runner(env).run(["srun", "--mpi=list"])
        plugins = asked.stdout + asked.stderr
    names = plugin_names(plugins)
    found = seen.own
    if not checks:
        found = found if plugin == "auto" else None
    chosen = choose(
        found,
        names,
        wanted=plugin,
        libraries=pmi_libraries(env) if found and found.family == "intel" else None,
        num_ranks=num_ranks,
    )
    report = report.replace(plugins=tuple(sorted(names)))
    if isinstance(chosen, Refusal):
        return report.replace(refusal=chosen)
    return report.replace(choice=chosen)


def with_guard(report: Report, folder: Path) -> Report:
    """Return the report with the guard that its ranks preload, built in a folder where needed.

    SLURMKIT_MPI_GUARD names one that is there already, or is ``off``.
    """
    given = os.environ.get("SLURMKIT_MPI_GUARD", "")
    if given:
        return report.replace(guard="" if given == "off" else given)
    built = build(folder)
    return report.replace(guard=str(built)) if built else report


def plugin_names(printed: str) -> frozenset[str]:
    """Return the plugins that ``srun --mpi=list`` names; releases differ in layout alone."""
    names = {line.strip() for line in printed.splitlines() if re.fullmatch(r"\s+[\w-]+", line)}
    versions = re.findall(r"plugin versions available: (.*)", printed)
    return frozenset(names | {word for line in versions for word in line.split(",") if word})


def refuse(report: Report) -> MpiError:
    """Return the error for a report in which nothing fits."""
    assert report.refusal is not None
    return MpiError(f"MPI: {report.refusal.reason}", hint=report.refusal.hint)


def _by_mpirun(report: Report, seen: Look) -> Report:
    env = environment()
    started = launcher_of(seen.own, env)
    if started is None:
        who = str(seen.found) if seen.found else "an MPI"
        name = NAMES[seen.found.family] if seen.found else "any MPI"
        refusal = Refusal(
            f"there is no mpirun of {who} on PATH: another MPI's would start worlds of one rank",
            f"load the module of {name} under software, or write launcher: srun",
        )
        return report.replace(refusal=refusal)
    path, said = started
    return report.replace(mpirun=path, mpirun_family=said.family, mpirun_major=said.major)


def _missing(command: Sequence[str], seen: Look) -> Refusal:
    if seen.absent:
        where = f"on {os.uname().nodename}, in {Path.cwd()} or on PATH"
        return Refusal(
            f"there is no program {command[0]} {where}",
            "correct launch.command, or build the program under software.setup",
        )
    return Refusal(
        f"{command[0]} needs {seen.missing}, which is not found on {os.uname().nodename}",
        "load the module of the MPI that it was built with under software",
    )
