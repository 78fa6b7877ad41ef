"""slurmkit plugins: build, install and check the plugins of this machine's Slurm."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="SPANK plugins: rank variables and GPU affinity for every srun, without a wrapper.",
)

Root = Annotated[Path, typer.Option("--root", help="Root of a node's image.")]
PluginDir = Annotated[
    Path | None,
    typer.Option("--plugin-dir", help="Slurm's plugin folder.", show_default=False),
]
Plugstack = Annotated[
    Path | None,
    typer.Option("--plugstack", help="plugstack.conf, inside the root.", show_default=False),
]
SlurmConf = Annotated[
    Path | None,
    typer.Option("--slurm-conf", help="slurm.conf, inside the root.", show_default=False),
]
Prefix = Annotated[
    Path | None,
    typer.Option(
        "--slurm-prefix", help="Where Slurm is installed: has include/slurm.", show_default=False
    ),
]


class Mode(str, Enum):
    """The site's default for --slurmkit-affinity."""

    OFF = "off"
    WARN = "warn"
    STRICT = "strict"


@app.command()
def build(
    slurm_prefix: Prefix = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the plugins.", show_default="~/.cache/slurmkit/plugins"),
    ] = None,
) -> None:
    """Compile the plugins against the headers of this machine's Slurm.

    Example: slurmkit plugins build && sudo slurmkit plugins install
    """
    from slurmkit.admin import build as make
    from slurmkit.admin import default_output
    from slurmkit.cli.output import echo

    headers = _headers(slurm_prefix)
    for path in make(headers, output or default_output(headers)):
        echo(f"{path} for Slurm {headers.version}")


@app.command()
def install(
    built: Annotated[
        Path | None,
        typer.Option("--from", help="Folder that build made.", show_default=False),
    ] = None,
    root: Root = Path("/"),
    plugin_dir: PluginDir = None,
    plugstack: Plugstack = None,
    mode: Annotated[
        Mode, typer.Option(help="Default of --slurmkit-affinity on this site.")
    ] = Mode.WARN,
    required: Annotated[
        bool,
        typer.Option("--required", help="Refuse every job on a node that cannot load a plugin."),
    ] = False,
    no_plugstack: Annotated[
        bool,
        typer.Option(
            "--no-plugstack", help="Leave plugstack.conf alone: a site's files have the entries."
        ),
    ] = False,
    slurm_prefix: Prefix = None,
    lua: Annotated[
        bool, typer.Option("--lua", help="Also put the Lua scripts beside slurm.conf.")
    ] = False,
    slurm_conf: SlurmConf = None,
) -> None:
    """Put the plugins into Slurm's folder and their lines into plugstack.conf.

    Example: slurmkit plugins install --root /srv/images/gpu-node
    """
    from slurmkit.admin import default_output, install_lua
    from slurmkit.admin import install as put
    from slurmkit.admin.places import find_places
    from slurmkit.cli.output import echo

    places = find_places(root, plugin_dir, plugstack, slurm_conf)
    folder = built or default_output(_headers(slurm_prefix))
    for path in put(places, folder, mode=mode.value, required=required, entries=not no_plugstack):
        echo(f"wrote {path}")
    if lua:
        for path in install_lua(places):
            echo(f"wrote {path}")
        echo(f"To switch them on, after an edit of the policy, add to {places.slurm_conf}:")
        echo("JobSubmitPlugins=lua   # on the controller's host")
        echo("CliFilterPlugins=lua   # on hosts where people submit")


@app.command()
def uninstall(
    root: Root = Path("/"),
    plugin_dir: PluginDir = None,
    plugstack: Plugstack = None,
    slurm_conf: SlurmConf = None,
) -> None:
    """Remove what install wrote: the lines first, then the plugins, then the Lua scripts."""
    from slurmkit.admin import uninstall as take_away
    from slurmkit.admin import uninstall_lua
    from slurmkit.admin.places import find_places
    from slurmkit.cli.output import echo

    places = find_places(root, plugin_dir, plugstack, slurm_conf)
    changed = take_away(places)
    for path in changed:
        echo(f"{'removed' if not path.exists() else 'wrote'} {path}")
    gone, kept = uninstall_lua(places)
    for path in gone:
        echo(f"removed {path}")
    for path in kept:
        echo(f"kept {path}, which somebody has edited")
    if not changed and not gone:
        echo("nothing was installed")


@app.command()
def check(
    root: Root = Path("/"),
    plugin_dir: PluginDir = None,
    plugstack: Plugstack = None,
    slurm_conf: SlurmConf = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what is installed against the Slurm that runs; ends with 1 when something is wrong."""
    from slurmkit.admin import check as look
    from slurmkit.admin.places import find_places
    from slurmkit.cli import output
    from slurmkit.errors import EXIT_FAILED

    report = look(find_places(root, plugin_dir, plugstack, slurm_conf))
    if as_json:
        output.print_json(report)
    else:
        output.echo(f"Slurm {report.slurm or 'none'}; plugins are loaded by {report.plugstack}")
        rows = [
            (
                plugin.name,
                plugin.note.slurmkit if plugin.note else "-",
                plugin.note.slurm if plugin.note else "-",
                str(plugin.entry) if plugin.entry else "-",
            )
            for plugin in report.plugins
        ]
        for line in output.table(("PLUGIN", "VERSION", "FOR SLURM", "PLUGSTACK.CONF"), rows):
            output.echo(line)
        if any(script.state != "absent" or script.loaded for script in report.lua):
            states = [(script.name, script.state, script.loaded or "-") for script in report.lua]
            for line in output.table(("LUA SCRIPT", "STATE", "SLURM.CONF"), states):
                output.echo(line)
        for problem in report.problems:
            output.note(f"problem: {problem}")
    if report.problems:
        raise typer.Exit(EXIT_FAILED)


def _headers(prefix: Path | None) -> "Headers":
    from slurmkit.admin import find_headers
    from slurmkit.admin.headers import PREFIXES

    return find_headers([prefix] if prefix else PREFIXES)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from slurmkit.admin import Headers
