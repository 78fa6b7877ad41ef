"""slurmkit site check: a site's files read closely, and tried in a real slurmctld."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slurmkit.sitecheck.report import Report


def check(
    site: Annotated[
        Path,
        typer.Argument(
            metavar="SITE", help="Site folder, a shipped site, or a folder with slurm.conf."
        ),
    ],
    slurm_version: Annotated[
        str,
        typer.Option(
            "--slurm-version", help="Release, such as 24.11; by default what site.yaml says."
        ),
    ] = "",
    no_boot: Annotated[
        bool, typer.Option("--no-boot", help="Read the files, and start no slurmctld.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say what is wrong with a site, by file and line, before it is installed.

    Reads every file by rules, then starts a slurmctld of the release on them for a moment, in a
    room of its own that leaves nothing behind (root only). Ends with 1 when something is wrong.

    Example: slurmkit site check site-configs/dgx-h100 --slurm-version 24.11
    """
    import os

    from slurmkit.cli import output
    from slurmkit.errors import EXIT_FAILED
    from slurmkit.sitecheck.report import check_site

    start = not no_boot and os.geteuid() == 0
    report = check_site(site, slurm_version, start=start)
    if not start and not no_boot:
        output.note("note: only root can start a slurmctld: the files were read, and not tried")
    if as_json:
        output.print_json(
            {
                "ok": report.ok,
                "release": report.release,
                "booted": report.booted or None,
                "notes": report.notes,
                "problems": [output.problem_json(problem) for problem in report.problems],
            }
        )
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Add the command to the group `site`."""
    app.command("check")(check)


def _print(report: "Report") -> None:
    from slurmkit.cli import output

    for problem in report.problems:
        place = f"{problem.where}: " if problem.where else ""
        word = "warning" if problem.warning else "error"
        key = f"{problem.key}: " if problem.key not in problem.message else ""
        output.echo(f"{place}{word}: {key}{problem.message} [{problem.code}]")
        if problem.hint:
            output.echo(f"    {problem.hint}")
    for note in report.notes:
        output.note(f"note: {note}")
    wrong = sum(not problem.warning for problem in report.problems)
    odd = len(report.problems) - wrong
    tried = f", and tried in slurmctld {report.booted} of {report.where}" if report.booted else ""
    output.echo(
        f"{report.site}: read for Slurm {report.release}{tried}: {_count(wrong, 'error')},"
        f" {_count(odd, 'warning')}"
    )


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
