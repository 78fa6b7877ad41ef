"""slurmkit elastic: nodes that come and go with the work."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slurmkit.api.elastic import Action

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Nodes that are started when there is work, and stopped when there is none.",
)

Hosts = Annotated[str, typer.Argument(metavar="HOSTLIST", help="Nodes, such as cloud[01-04].")]
Site = Annotated[
    str | None, typer.Option("--site", help="site.yaml or its folder.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def report(as_json: AsJson = False) -> None:
    """Show how deep the queue is, why jobs wait, and how many more nodes would let them start.

    Example: slurmkit elastic report
    """
    from slurmkit.api import elastic
    from slurmkit.cli import output

    found = elastic.report()
    if as_json:
        output.print_json(found)
        return
    output.echo(f"{found.pending} {'job waits' if found.pending == 1 else 'jobs wait'}")
    if found.reasons:
        for line in output.table(
            ("WAITS FOR", "JOBS"), [(name, str(count)) for name, count in found.reasons.items()]
        ):
            output.echo(line)
    for line in found.advice:
        output.echo(line)


@app.command("list")
def list_(site: Site = None, as_json: AsJson = False) -> None:
    """Show what the driver says of each node that may be stopped.

    Example: slurmkit elastic list
    """
    from slurmkit.api import elastic
    from slurmkit.cli import output

    states = elastic.states(site=site)
    if as_json:
        output.print_json(states)
        return
    for line in output.table(("NODE", "STATE"), list(states.items())):
        output.echo(line)


@app.command()
def resume(hosts: Hosts, site: Site = None) -> None:
    """Start nodes; Slurm's ResumeProgram calls this.

    Example: slurmkit elastic resume cloud[01-04]
    """
    _act("resume", hosts, site)


@app.command()
def suspend(hosts: Hosts, site: Site = None) -> None:
    """Stop nodes; Slurm's SuspendProgram calls this. A job there is lost: drain it first.

    Example: slurmkit elastic suspend cloud[01-04]
    """
    _act("suspend", hosts, site)


@app.command("resume-failed")
def resume_failed(hosts: Hosts, site: Site = None) -> None:
    """Stop nodes that did not register in time; Slurm's ResumeFailProgram calls this.

    Example: slurmkit elastic resume-failed cloud03
    """
    _act("resume-failed", hosts, site)


def _act(action: "Action", hosts: str, site: str | None) -> None:
    from slurmkit.api import elastic
    from slurmkit.cli import output
    from slurmkit.errors import EXIT_FAILED
    from slurmkit.hostlist import compress

    outcome = elastic.act(action, hosts, site=site)
    word = "started" if action == "resume" else "stopped"
    if outcome.done and action != "resume-failed":
        output.echo(f"{word} {compress(outcome.done)}")
    if outcome.skipped:
        output.echo(f"{compress(outcome.skipped)}: nothing to do")
    for host, why in outcome.failed:
        output.note(f"{host}: {why}")
    if outcome.kept_down:
        output.note(f"{compress(outcome.kept_down)}: failed too often, left down")
    if outcome.failed and action != "resume-failed":
        raise typer.Exit(EXIT_FAILED)
