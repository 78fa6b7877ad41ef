"""slurmkit site generate: every file of a site from its site.yaml."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    site: Annotated[
        str, typer.Argument(metavar="SITE", help="Site folder, or the name of a shipped site.")
    ],
    slurm_version: Annotated[
        str | None,
        typer.Option(
            help="Release to write for, such as 24.11. Default: slurm.version in site.yaml.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Make a new site folder of it here.", show_default=False),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; end with 1 when something differs.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also overwrite files that were edited by hand.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Write every file of a site from its site.yaml: slurm.conf, gres.conf, prologs, units ...

    Example: slurmkit site generate dgx-h100 --output mysite
    """
    from slurmkit.cli import output as out
    from slurmkit.errors import EXIT_FAILED
    from slurmkit.site import generation

    done = generation.run(site, version=slurm_version, output=output, check=check, force=force)
    if as_json:
        out.print_json(done)
    else:
        for item in done.differences:
            out.echo(f"{done.word(item)} {item.path}")
        out.echo(done.summary)
    if check and done.differences:
        raise typer.Exit(EXIT_FAILED)
