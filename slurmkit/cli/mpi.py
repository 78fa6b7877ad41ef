"""slurmkit mpi: which MPI a program uses, and how its ranks meet."""

from pathlib import Path
from typing import Annotated

import typer

_SETTINGS = {"allow_interspersed_args": False, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mpi", context_settings=_SETTINGS)(mpi)


def mpi(
    program: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROGRAM", help="The program and its arguments. Default: the MPI on PATH."
        ),
    ] = None,
    launcher: Annotated[
        str, typer.Option("--launcher", help="srun or mpirun.", show_default=True)
    ] = "srun",
    plugin: Annotated[
        str, typer.Option("--plugin", help="Slurm's plugin, if one was chosen.")
    ] = "auto",
    ranks: Annotated[int, typer.Option("--ranks", help="How many ranks are to meet.", min=1)] = 2,
    cpus: Annotated[int, typer.Option("--cpus", help="CPUs of each rank.", min=1)] = 1,
    plugins: Annotated[
        str | None,
        typer.Option("--plugins", metavar="TEXT", help="What `srun --mpi=list` printed."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="DIR",
            help="Print shell lines, as the batch script evaluates them; the guard goes to DIR.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show which MPI a program uses, and how its ranks meet.

    Ends with 4 when nothing that is here fits.

    Example: slurmkit mpi ./hello
    """
    from slurmkit.api.mpi import answer, describe_mpi, refuse, with_guard
    from slurmkit.cli import output

    if launcher not in ("srun", "mpirun"):
        raise typer.BadParameter("choose srun or mpirun", param_hint="--launcher")
    report = describe_mpi(
        program or [], launcher=launcher, plugin=plugin, plugins=plugins, num_ranks=ranks
    )
    if as_json:
        output.print_json(answer(report))
        if report.refusal:
            raise typer.Exit(refuse(report).exit_code)
        return
    if report.refusal:
        raise refuse(report)
    if export is not None:
        output.note(f"slurmkit: MPI: {report.why}")
        if report.trouble:
            output.note(f"slurmkit: MPI: {report.trouble}")
        output.echo(with_guard(report, export).exports(several_cpus=cpus > 1))
        return
    rows = [
        ["mpi", str(report.found) if report.found else "not known"],
        ["from", (report.found.library or report.found.source) if report.found else ""],
        ["launcher", report.mpirun or "srun"],
        ["plugins", " ".join(report.plugins)],
        ["plugin", report.choice.plugin if report.choice else ""],
        *([name, value] for name, value in (report.choice.env if report.choice else ())),
        ["why", report.why],
        ["trouble", report.trouble],
    ]
    for line in output.table(["WHAT", "IS"], [row for row in rows if row[1]]):
        output.echo(line)
