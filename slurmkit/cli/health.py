"""health check: look at this node."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The health of nodes.", rich_markup_mode=None)


@app.callback()
def _health() -> None:
    """The health of nodes."""


@app.command("check")
def check(
    full: Annotated[
        bool, typer.Option("--full", help="Also what takes longer, such as the GPUs' memory.")
    ] = False,
    shared: Annotated[
        Path | None, typer.Option("--shared", help="A folder on the shared file system to try.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", help="GPUs that the node should have.", min=0)
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Run this check alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Check this node.

    The same checks as a job's preflight. Exits 1 when one fails.

    Example: srun -N4 --ntasks-per-node=1 --label slurmkit health check
    """
    from slurmkit.api.health import check_node
    from slurmkit.cli import output

    report = check_node(
        level="full" if full else "quick",
        shared_dir=shared,
        num_gpus=gpus,
        only=tuple(only or ()),
    )
    if as_json:
        output.print_json(report.fields())
    else:
        rows = [[item.check, item.verdict, item.detail] for item in report.checks]
        for line in output.table(["CHECK", "VERDICT", "DETAIL"], rows):
            output.echo(line)
    raise typer.Exit(report.exit_code)
