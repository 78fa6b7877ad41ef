"""site tiers: a site's tiers and accounts next to those of the live slurmdbd."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slurmkit.site.tiers_change import Change


def register(site_app: typer.Typer) -> None:
    """Add the command to those of ``slurmkit site``."""
    site_app.command("tiers")(tiers)


def tiers(
    site: Annotated[
        str, typer.Argument(metavar="SITE", help="Site folder, or the name of a shipped site.")
    ],
    apply: Annotated[bool, typer.Option("--apply", help="Make the changes.")] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Also remove what slurmkit made and site.yaml has no more."),
    ] = False,
    root: Annotated[Path, typer.Option("--root", help="Where the site's log is kept.")] = Path("/"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what slurmdbd lacks of a site's tiers and accounts; --apply makes it so.

    Ends with 1 when something would change. What slurmkit did not make is never removed.

    Example: slurmkit site tiers site-configs/dgx-h100 --apply
    """
    from slurmkit.api.tiers import apply_tiers, compare_tiers
    from slurmkit.cli import output
    from slurmkit.errors import EXIT_FAILED
    from slurmkit.site.folders import find_folder
    from slurmkit.site.lookup import find_site

    found = find_site(str(find_folder(site)))

    def show(change: "Change") -> None:
        if not as_json:
            for line in _lines(change):
                output.echo(line)

    if apply:
        report = apply_tiers(found, prune=prune, root=root, on_change=show)
    else:
        report = compare_tiers(found, prune=prune)
        for change in report.changes:
            show(change)
    if as_json:
        output.print_json(report)
    else:
        for said in report.notes:
            output.note(said)
        verb = "made" if apply else "to make"
        count = len(report.changes)
        changes = f"{count} change{'s' if count != 1 else ''} {verb}"
        output.echo(changes if count else "nothing to change")
    if report.changes and not apply:
        raise typer.Exit(EXIT_FAILED)


def _lines(change: "Change") -> list[str]:
    sign = {"add": "+", "modify": "~", "remove": "-"}[change.action]
    lines = [f"{sign} {change.entity} {change.name}"]
    for setting in change.settings:
        before = f"{setting.old} -> " if setting.old else ""
        lines.append(f"    {setting.name}: {before}{setting.new or '(none)'}")
    return lines
