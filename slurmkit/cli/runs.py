"""Commands on a run: status, logs, cancel."""

from typing import Annotated

import typer

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Run name (the newest), run id, job id or folder.")
]
Site = Annotated[str | None, typer.Option("--site", help="site.yaml, or the folder it is in.")]
Backend = Annotated[str, typer.Option("--backend", help="auto, cli or pyslurm.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def status(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Name, id, job id or folder; none: all.")
    ] = None,
    site: Site = None,
    backend: Backend = "auto",
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many runs to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show a run, or your newest runs.

    Says which rank failed first and why. A job that Slurm has forgotten is shown by what its run
    directory remembers.

    Example: slurmkit status llama-finetune --json
    """
    from slurmkit import api
    from slurmkit.cli import output, show

    if run is None:
        statuses = api.list_status(
            site=site, backend=backend, limit=limit, on_problem=output.print_problem
        )
        if as_json:
            output.print_json(statuses)
        else:
            show.print_status_list(statuses)
        return
    result = api.find_run(run, site=site, backend=backend).status()
    if as_json:
        output.print_json(result)
    else:
        show.print_status(result)


def logs(
    run: RunName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends.")
    ] = False,
    rank: Annotated[int | None, typer.Option("--rank", help="Only this rank's lines.")] = None,
    task: Annotated[int | None, typer.Option("--task", help="Only this array element.")] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", help="This attempt. Default: the newest.")
    ] = None,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", help="Only the last N lines.")
    ] = None,
    site: Site = None,
    backend: Backend = "auto",
) -> None:
    """Print what a run wrote.

    Example: slurmkit logs llama-finetune --rank 3 --follow
    """
    import sys

    from slurmkit import api

    found = api.find_run(run, site=site, backend=backend)
    for chunk in found.logs(follow=follow, rank=rank, task=task, attempt=attempt, lines=lines):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def resume(
    run: RunName, site: Site = None, backend: Backend = "auto", as_json: AsJson = False
) -> None:
    """Start a run again where it stopped.

    Submits its script once more, in the same folder: it goes on from its newest checkpoint. Of an
    array only the elements start that did not complete.

    Example: slurmkit resume llama-finetune
    """
    from slurmkit import api
    from slurmkit.cli import output

    found = api.find_run(run, site=site, backend=backend)
    job_id = found.resume()
    if as_json:
        output.print_json([{**found.describe(), "job_id": job_id}])
        return
    output.note(f"submitted job {job_id}, which goes on with {found.name}/{found.run_id}")
    output.note(f"  watch  slurmkit logs {found.run_id} --follow")


def cancel(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs to end.")],
    signal: Annotated[
        str | None, typer.Option("--signal", help="Send this signal instead: USR2, TERM.")
    ] = None,
    site: Site = None,
    backend: Backend = "auto",
    as_json: AsJson = False,
) -> None:
    """End runs, or signal them.

    Example: slurmkit cancel llama-finetune
    """
    from slurmkit import api
    from slurmkit.cli import output

    found = [api.find_run(run, site=site, backend=backend) for run in runs]
    statuses = [run.cancel(signal) for run in found]
    if as_json:
        output.print_json(statuses)
        return
    for item in statuses:
        done = f"sent {signal} to" if signal else "cancelled"
        output.echo(f"{done} {item.name}/{item.run_id} (job {item.job_id}): {item.state}")
