"""slurmkit site init, survey and topology: a site from what a cluster and its switches say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slurmkit.api.survey import FabricReport, SurveyReport

FromDir = Annotated[
    Path | None,
    typer.Option(
        "--from-dir",
        help="Read answers from this folder, not from the cluster.",
        show_default=False,
    ),
]
NoJobs = Annotated[
    bool, typer.Option("--no-jobs", help="Run nothing on the nodes: ask Slurm alone.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def init(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="Site folder to make. Default: the cluster's name, here.",
            show_default=False,
        ),
    ] = None,
    from_dir: FromDir = None,
    fabric: Annotated[
        list[Path] | None,
        typer.Option(
            help="File about switches, as for `site topology` (repeatable).", show_default=False
        ),
    ] = None,
    no_jobs: NoJobs = False,
    as_json: AsJson = False,
) -> None:
    """Look at this cluster and write a site folder of it; every guess is marked in site.yaml.

    Runs a short job on nodes that are free, to see what they are; without the right to, it takes
    what Slurm declares. Overwrites nothing, and installs nothing.

    Example: slurmkit site init mysite
    """
    from slurmkit.api.survey import init_site
    from slurmkit.cli import output

    report = init_site(
        folder,
        from_dir=from_dir,
        fabric=fabric or [],
        run_jobs=not no_jobs,
        progress=output.note,
    )
    _print_survey(report, as_json=as_json)
    if not as_json:
        if report.problem:
            output.note(f"no files were generated: {report.problem}")
        else:
            output.note(f"generated {report.files} files below {report.folder}/files")
        output.note(f"read the guesses in {report.folder}/site.yaml, then:")
        output.note(f"  slurmkit site generate {report.folder}")
        output.note(f"  slurmkit site check {report.folder}")


def survey(
    site: Annotated[
        str | None,
        typer.Option("--site", help="Compare with this site.yaml, too.", show_default=False),
    ] = None,
    from_dir: FromDir = None,
    no_jobs: NoJobs = False,
    as_json: AsJson = False,
) -> None:
    """Compare the nodes with slurm.conf and site.yaml; ends with 1 when something is wrong.

    Example: slurmkit site survey --site mysite
    """
    from slurmkit.api import survey as api
    from slurmkit.cli import output
    from slurmkit.errors import EXIT_FAILED

    report = api.survey(from_dir=from_dir, run_jobs=not no_jobs, site=site, progress=output.note)
    _print_survey(report, as_json=as_json)
    if any(item.severity == "error" for item in report.mismatches):
        raise typer.Exit(EXIT_FAILED)


def topology(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Output of ibnetdiscover, ibdiagnet2.lst, JSON of lldpctl named by host, or a"
            " table; a folder of them.",
        ),
    ],
    file_format: Annotated[
        str, typer.Option("--format", help="ibnetdiscover, ibdiagnet, lldp, csv, yaml, or auto.")
    ] = "auto",
    slurm_version: Annotated[
        str | None,
        typer.Option(help="Release to write for. Default: the newest.", show_default=False),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option(
            help="Host list of Slurm's nodes: others are left out, missing ones reported.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Only cables of this HCA or interface, such as mlx5_0 (repeatable).",
            show_default=False,
        ),
    ] = None,
    site_yaml: Annotated[
        bool, typer.Option("--site-yaml", help="Print the section for site.yaml instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write topology.conf or topology.yaml from what fabric tools say of the switches.

    Ends with 1 when a node is missing or seems to be there twice.

    Example: ibnetdiscover > ib.txt; slurmkit site topology ib.txt --slurm-version 24.11
    """
    from slurmkit.api.survey import fabric_report
    from slurmkit.cli import output
    from slurmkit.errors import EXIT_FAILED

    report = fabric_report(
        files,
        file_format=file_format,
        slurm_version=slurm_version,
        nodes=nodes,
        devices=device or [],
    )
    if as_json:
        output.print_json(report)
    elif site_yaml:
        from slurmkit.yamlfile.writer import dump

        output.echo(dump({"switches": report.section}).rstrip("\n"))
    else:
        _print_fabric(report)
    if not as_json:
        _print_notes(report)
    if not report.fits:
        raise typer.Exit(EXIT_FAILED)


def register(site_app: typer.Typer) -> None:
    """Add these commands to `slurmkit site`."""
    for command in (init, survey, topology):
        site_app.command()(command)


def _print_fabric(report: "FabricReport") -> None:
    from slurmkit.cli import output

    for name, text in report.files.items():
        output.note(f"{name}, for Slurm {report.slurm_version}:")
        output.echo(text.rstrip("\n"))
    if not report.files:
        output.note("no node has a cable, so there is nothing to write")


def _print_notes(report: "FabricReport") -> None:
    from slurmkit.cli import output
    from slurmkit.hostlist import compress

    if report.slurm_conf:
        output.note(f"slurm.conf: {'; '.join(report.slurm_conf)}")
    rails = f", {report.rails} rails" if report.rails > 1 else ""
    output.note(f"{report.nodes} nodes, {report.switches} switches{rails}")
    for note in report.notes:
        output.note(f"note: {note}")
    if report.unknown:
        output.note(f"note: not among --nodes, so left out: {compress(report.unknown)}")
    if report.missing:
        output.note(f"error: without a cable: {compress(report.missing)}")
    for host, why in report.twice.items():
        output.note(f"error: {host} is there twice: {why}")


def _print_survey(report: "SurveyReport", *, as_json: bool) -> None:
    from slurmkit.api.survey import problem_of
    from slurmkit.cli import output

    if as_json:
        output.print_json(report)
        return
    rows = [
        (
            kind.name,
            kind.nodes,
            str(kind.gpus),
            kind.gpu_type or "-",
            kind.profile or "-",
            f"{kind.num_seen} of {kind.num_nodes}",
        )
        for kind in report.kinds
    ]
    for line in output.table(("KIND", "NODES", "GPUS", "TYPE", "PROFILE", "SEEN"), rows):
        output.echo(line)
    output.print_problems([problem_of(item) for item in report.mismatches])
    for words in report.unseen:
        output.note(f"not seen: {words}")
