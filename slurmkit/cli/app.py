"""The table of commands; importing it costs typer and no more."""

from typing import Annotated

import typer

from slurmkit import __version__
from slurmkit.cli import (
    bench,
    compute,
    doctor,
    elastic,
    health,
    jobs,
    meta,
    mpi,
    plugins,
    recovery,
    runs,
    sandbox,
    site_check,
    site_files,
    site_init,
    tiers,
    topo,
)

app = typer.Typer(
    name="slurmkit",
    help="From one YAML file to a running multi-node job on a Slurm cluster.",
    epilog="Start with:  slurmkit init llama-finetune && slurmkit submit llama-finetune.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"slurmkit {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


for command in (
    jobs.init,
    jobs.check,
    jobs.render,
    jobs.submit,
    jobs.run,
    runs.status,
    runs.logs,
    runs.cancel,
    runs.resume,
    recovery.report,
    recovery.explain,
    doctor.doctor,
    meta.schema,
):
    app.command()(command)
app.add_typer(recovery.ckpt, name="ckpt")
site_init.register(site_files.site_app)
site_check.register(site_files.site_app)
tiers.register(site_files.site_app)
app.add_typer(site_files.site_app, name="site")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(bench.app, name="bench")
app.add_typer(elastic.app, name="elastic")
app.add_typer(topo.app, name="topo")
app.add_typer(health.app, name="health")
app.add_typer(plugins.app, name="plugins")
mpi.register(app)
compute.register(app)
