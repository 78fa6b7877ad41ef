"""slurmkit site diff, install and rollback: a site's files on this machine, or in an image."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slurmkit.cli.meta import site_app

if TYPE_CHECKING:
    from slurmkit.site.deploy import Change, Machine, SiteFolder
    from slurmkit.sitecheck.reconfigure import Told

__all__ = ["site_app"]

Folder = Annotated[
    Path, typer.Argument(metavar="SITE", help="Site folder, or the name of a shipped site.")
]
Root = Annotated[Path, typer.Option("--root", help="Root of an image.")]
Reconfigure = Annotated[
    bool,
    typer.Option(
        "--reconfigure",
        help="Check the site first, then let Slurm read it, or say what must be restarted.",
    ),
]


@site_app.command("diff")
def diff(
    site: Folder,
    root: Root = Path("/"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what an install would change; ends with 1 when it would change something.

    Example: slurmkit site diff site-configs/dgx-h100
    """
    from slurmkit.cli import output
    from slurmkit.errors import EXIT_FAILED
    from slurmkit.site.deploy import Machine, read_folder
    from slurmkit.site.deploy.folder import secret_problems

    site = _chosen(site)
    machine, folder = Machine(root), read_folder(site)
    planned = machine.changes(folder)
    conflicts = machine.conflicts(planned)
    secrets = secret_problems(folder, machine.root)
    if as_json:
        output.print_json(
            {
                "interrupted": machine.interrupted,
                "changes": [{"path": change.path, "kind": change.kind} for change in planned],
                "conflicts": conflicts,
                "secrets": secrets,
            }
        )
    else:
        for change in planned:
            output.echo(f"{change.kind} {change.path}{_modes(change)}")
            for line in _lines(machine, folder, change):
                output.echo(line)
        for conflict in conflicts:
            output.note(f"conflict: {conflict.path}: {conflict.why}")
        for problem in secrets:
            output.note(f"secret: {problem}")
        if machine.interrupted:
            output.note("an install or rollback was interrupted; the next one finishes it first")
        if not planned:
            output.echo("nothing would change")
    if planned:
        raise typer.Exit(EXIT_FAILED)


@site_app.command("install")
def install(
    site: Folder,
    root: Root = Path("/"),
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite what others wrote; rollback restores it.")
    ] = False,
    reconfigure: Reconfigure = False,
) -> None:
    """Put a site's files in place, all or none, and keep the old ones. Restarts nothing.

    Example: slurmkit site install site-configs/dgx-h100 --root /srv/images/gpu-node
    """
    from slurmkit.cli import output
    from slurmkit.site.deploy import Machine, read_folder
    from slurmkit.site.deploy.folder import secret_problems

    site = _chosen(site)
    machine, folder = Machine(root), read_folder(site)
    if reconfigure:
        from slurmkit.sitecheck import reconfigure as tell
        from slurmkit.slurm.daemons import DaemonControl

        slurm = DaemonControl()
        _print_told(tell.install(machine, site, folder, force=force, slurm=slurm), undo=machine)
    else:
        _print(machine.install(folder, force=force))
    for problem in secret_problems(folder, machine.root):
        output.note(f"secret: {problem}")


@site_app.command("rollback")
def rollback(
    root: Root = Path("/"),
    force: Annotated[
        bool, typer.Option("--force", help="Also where files were edited since; edits are lost.")
    ] = False,
    reconfigure: Reconfigure = False,
) -> None:
    """Undo the last install: every file as it was, with its mode and owner."""
    from slurmkit.site.deploy import Machine

    machine = Machine(root)
    if reconfigure:
        from slurmkit.sitecheck import reconfigure as tell
        from slurmkit.slurm.daemons import DaemonControl

        _print_told(tell.rollback(machine, force=force, slurm=DaemonControl()))
    else:
        _print(machine.rollback(force=force))


@site_app.command("log")
def log(
    root: Root = Path("/"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show every change that slurmkit site made here: who, when, and which files."""
    from slurmkit.cli import output
    from slurmkit.site.deploy import audit

    changes = audit.entries(root.resolve())
    if as_json:
        output.print_json(changes)
        return
    for entry in changes:
        details = entry.details
        output.echo(f"{entry.time} {audit.who(entry)} {entry.action} {details.get('site', '')}")
        for file in details.get("files", []):
            output.echo(f"  {file['kind']} {file['path']}")
        for name, value in details.items():
            if name not in ("files", "site", "number", "force"):
                lines = value if isinstance(value, list) else [f"{name}: {value}"]
                for line in lines:
                    output.echo(f"  {line}")
    if not changes:
        output.echo("nothing was changed here")


def _print(done: "list[Change]") -> None:
    from slurmkit.cli.output import echo

    words = {"create": "wrote", "update": "wrote", "mode": "changed mode of", "remove": "removed"}
    for change in done:
        echo(f"{words[change.kind]} {change.path}")
    if not done:
        echo("nothing changed")


def _print_told(told: "Told", undo: "Machine | None" = None) -> None:
    """Print what became of it; ends with 1 where Slurm could not be told.

    Args:
        told: what became of it.
        undo: where an install can be taken back; None after a rollback, which is that already.
    """
    from slurmkit.cli import output
    from slurmkit.errors import EXIT_FAILED
    from slurmkit.sitecheck.restart import by_daemon

    _print(list(told.changes))
    if told.reconfigured:
        output.echo("Slurm has read its files again")
    for daemon, reasons in by_daemon(list(told.restarts)).items():
        output.echo(f"restart {daemon}:")
        for reason in reasons:
            place = f" ({reason.where})" if reason.where else ""
            output.echo(f"  {reason.why}{place}")
    if told.restarts:
        output.note("Slurm was told nothing: reconfigure is not enough for this change")
    if told.failure:
        output.note(f"error: {told.failure}")
        output.note("    the files are in place; scontrol reconfigure tells Slurm when it answers")
        if undo is not None:
            _offer_rollback(undo)
        raise typer.Exit(EXIT_FAILED)


def _offer_rollback(machine: "Machine") -> None:
    import sys

    from slurmkit.cli import output

    if sys.stdin.isatty() and typer.confirm("Take the install back, and tell Slurm again?"):
        rollback(machine.root, force=False, reconfigure=True)
    else:
        output.note("    slurmkit site rollback --reconfigure takes it back")


def _modes(change: "Change") -> str:
    if change.kind != "mode" or change.old is None or change.new is None:
        return ""
    old, new = change.old, change.new
    return f" {old.mode:04o} {old.uid}:{old.gid} -> {new.mode:04o} {new.uid}:{new.gid}"


def _chosen(site: Path) -> Path:
    """Return the folder that is meant: one on disk, or a shipped site by its name."""
    from slurmkit.site.folders import find_folder

    return site if site.exists() else find_folder(str(site))


def _lines(machine: "Machine", folder: "SiteFolder", change: "Change") -> list[str]:
    """Return the difference of two texts, as diff -u shows it; nothing for what is no text."""
    import difflib

    wanted = folder.files.get(change.path)
    contents = (machine.content(change.path), wanted.content if wanted else b"")
    try:
        old, new = (content.decode().splitlines() for content in contents)
    except UnicodeDecodeError:
        return []
    return list(difflib.unified_diff(old, new, "installed", "site", lineterm=""))
