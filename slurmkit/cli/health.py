"""health check and drains; prolog and program for --help, as slurmkit.__main__ runs them."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The health of nodes.", rich_markup_mode=None)
_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
_Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.callback()
def _health() -> None:
    """The health of nodes."""


@app.command("check")
def check(
    full: Annotated[
        bool,
        typer.Option("--full/--quick", help="Also what takes longer, such as the GPU driver."),
    ] = False,
    shared: Annotated[
        Path | None, typer.Option("--shared", help="A folder on the shared file system to try.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", help="GPUs that the node should have.", min=0)
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Run this check alone.")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="What the site says, instead of /etc/slurmkit/health.json."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Check this node.

    The same checks as before a job and by Slurm. Exits 1 when one fails.

    Example: srun -N4 --ntasks-per-node=1 --label slurmkit health check
    """
    from slurmkit.api.health import check_node
    from slurmkit.cli import output

    report = check_node(
        level="full" if full else "quick",
        shared_dir=shared,
        num_gpus=gpus,
        only=tuple(only or ()),
        config_path=config,
    )
    if as_json:
        output.print_json(report.fields())
    else:
        rows = [[item.check, item.verdict, item.detail] for item in report.checks]
        for line in output.table(["CHECK", "VERDICT", "DETAIL"], rows):
            output.echo(line)
    raise typer.Exit(report.exit_code)


@app.command("drains")
def drains(as_json: _Json = False) -> None:
    """Show the nodes that are drained: by slurmkit, which puts them back, and by others.

    Example: slurmkit health drains
    """
    from slurmkit.api.health import drained_nodes
    from slurmkit.cli import output

    found = drained_nodes()
    if as_json:
        output.print_json(found)
        return
    rows = [
        [item.node, item.state, "slurmkit" if item.by_slurmkit else item.by, item.reason]
        for item in found
    ]
    for line in output.table(["NODE", "STATE", "BY", "REASON"], rows):
        output.echo(line)


@app.command("prolog", context_settings=_PASS_ON)
def prolog(context: typer.Context) -> None:
    """May a job start here? For Slurm.

    Run by Slurm's Prolog as root; exits 3 when no job may start on this node.
    """
    from slurmkit.health.prolog import main

    raise typer.Exit(main(context.args))


@app.command("program", context_settings=_PASS_ON)
def program(context: typer.Context) -> None:
    """Check, drain or put back this node. For Slurm.

    Run by Slurm's HealthCheckProgram as root, every now and then on every node.
    """
    from slurmkit.api.health_node import main

    raise typer.Exit(main(context.args))
