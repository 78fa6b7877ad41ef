"""doctor: every link of the chain, on this host or on all hosts of a job."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slurmkit.doctor.report import DoctorReport


def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Only this link, or part of the chain, such as fabric."),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option("--nodes", "-N", help="Examine so many nodes, in a short job.", min=1),
    ] = None,
    partition: Annotated[
        str, typer.Option("--partition", "-p", help="Partition of that job.")
    ] = "",
    account: Annotated[str, typer.Option("--account", "-A", help="Account of that job.")] = "",
    hosts: Annotated[
        Path | None, typer.Option("--hosts", help="Examine the hosts of this hosts.yaml, by SSH.")
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Examine this host alone, also inside a job.")
    ] = False,
    shared: Annotated[
        str | None,
        typer.Option("--shared", help="Shared folder to try. Default: where runs are kept."),
    ] = None,
    ssh: Annotated[
        bool, typer.Option("--ssh", help="Also try SSH between the nodes of a job.")
    ] = False,
    site: Annotated[str | None, typer.Option("--site", help="site.yaml or its folder.")] = None,
    wait_s: Annotated[
        int, typer.Option("--wait", help="Seconds to wait for free nodes (--nodes).", min=1)
    ] = 60,
    deadline_s: Annotated[
        float, typer.Option("--deadline", help="Seconds for all hosts together.", min=5)
    ] = 120.0,
    root: Annotated[
        str, typer.Option("--root", help="Look below this folder instead of /; %h is the host.")
    ] = "/",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Check every link from driver to MPI, on each host, and compare the hosts.

    On a login node it looks at that node; inside a job at all nodes of the job; with --nodes at
    nodes that a short job gets; with --hosts at machines without Slurm. Exits 1 when a link fails.

    Example: slurmkit doctor --nodes 4 --partition gpu
    """
    from slurmkit.api.doctor import What, Where
    from slurmkit.api.doctor import doctor as examine
    from slurmkit.cli import output

    where = Where(
        here=here,
        nodes=nodes,
        partition=partition,
        account=account,
        hosts_file=hosts,
        wait_s=wait_s,
    )
    what = What(
        only=tuple(only or ()),
        shared_dir=shared,
        site=site,
        ssh=ssh,
        deadline_s=deadline_s,
        root=root,
    )
    report = examine(where, what)
    if as_json:
        output.print_json(report)
    else:
        _print(report)
    raise typer.Exit(report.exit_code)


def _print(report: "DoctorReport") -> None:
    from slurmkit.cli import output
    from slurmkit.doctor.report import rows

    found = rows(report)
    several = len(report.hosts) + len(report.silent) > 1
    columns = (0, 1, 2, 3) if several else (0, 1, 3)
    header = ("LINK", "VERDICT", "HOSTS", "WHAT")
    cells = [[row[column] for column in columns] for row in (header, *found)]
    head, *lines = output.table(cells[0], cells[1:])
    output.echo(head)
    for line, row in zip(lines, found, strict=True):
        output.echo(output.paint_verdict(line, row[1]))
    todo = [(link.link, text) for link in report.links for text in link.todo]
    if todo:
        output.echo()
        output.echo("What to do:")
        for link, text in todo:
            output.echo(f"  {link}: {text}")
    output.echo()
    output.echo(_summary(report))


def _summary(report: "DoctorReport") -> str:
    counts = {
        verdict: sum(link.verdict == verdict for link in report.links)
        for verdict in ("pass", "warn", "fail", "skipped")
    }
    words = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
    hosts, links = len(report.hosts) + len(report.silent), len(report.links)
    silent = f", {len(report.silent)} silent" if report.silent else ""
    return f"{_count(hosts, 'host')}{silent}, {_count(links, 'link')}: {words}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
