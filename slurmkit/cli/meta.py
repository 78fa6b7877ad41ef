"""Commands about slurmkit's own formats and about the site: schema, site show."""

from typing import Annotated

import typer

from slurmkit.cli.site_generate import generate

site_app = typer.Typer(help="What this cluster is, as slurmkit sees it.", rich_markup_mode=None)


def schema(
    name: Annotated[
        str, typer.Argument(help="job, site, or the name of a command with --json: ckpt-list.")
    ] = "job",
) -> None:
    """Print a JSON Schema.

    Of job.yaml, of site.yaml, or of what a command prints with --json.

    Example: slurmkit schema job > job.schema.json
    """
    from slurmkit.api.schemas import schema_of
    from slurmkit.cli.output import print_json

    print_json(schema_of(name))


site_app.command("generate")(generate)


@site_app.callback()
def _site() -> None:
    """What this cluster is, as slurmkit sees it."""


@site_app.command("show")
def show(
    site: Annotated[str | None, typer.Option("--site", help="site.yaml or its folder.")] = None,
    backend: Annotated[str, typer.Option("--backend", help="auto, cli or pyslurm.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the site that jobs are planned for, and where each part comes from."""
    from slurmkit import api
    from slurmkit.cli import output
    from slurmkit.cli import show as shown

    description = api.describe_site(site=site, backend=backend)
    if as_json:
        output.print_json(description)
        return
    shown.print_site(description)
