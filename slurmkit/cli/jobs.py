"""Commands on a job.yaml: init, check, render, submit, run."""

from pathlib import Path
from typing import Annotated, Any

import typer

JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job's YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set resources.nodes=4."),
]
SiteOption = Annotated[
    str | None, typer.Option("--site", metavar="PATH", help="site.yaml, or the folder it is in.")
]
Backend = Annotated[str, typer.Option("--backend", help="auto, cli or pyslurm.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def init(
    starter: Annotated[
        str | None, typer.Argument(help="Name of the starter; none lists them.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where to put it. Default: here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Copy a runnable starter.

    Example: slurmkit init llama-finetune
    """
    from slurmkit.api.starters import copy_starter, list_starters
    from slurmkit.cli.output import echo

    if starter is None:
        for name, summary in list_starters():
            echo(f"{name:18} {summary}")
        return
    target = directory or Path()
    for path in copy_starter(starter, target, overwrite=force):
        echo(f"created {path}")
    yaml = target / f"{starter}.yaml"
    echo(
        f"\nNext:  edit {yaml}, then  slurmkit submit {yaml}   (no Slurm here: slurmkit run {yaml})"
    )


def check(
    job: JobFile,
    overrides: Overrides = None,
    site: SiteOption = None,
    backend: Backend = "auto",
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the cluster: only the file and this host.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find mistakes before submitting.

    Compares the file with this host and the live cluster: partitions, limits, GPUs, accounts,
    programs, folders. Exits 2 when something is wrong.

    Example: slurmkit check llama-finetune.yaml
    """
    from slurmkit import api
    from slurmkit.cli.output import echo, print_json, print_problems, problem_json

    problems = api.check(
        api.load(job, overrides or ()), site=site, backend=None if offline else backend
    )
    errors = [problem for problem in problems if not problem.warning]
    if as_json:
        print_json({"ok": not errors, "problems": [problem_json(item) for item in problems]})
    else:
        print_problems(problems)
        if not errors:
            echo(f"{job}: ok")
    if errors:
        raise typer.Exit(2)


def render(
    job: JobFile,
    overrides: Overrides = None,
    site: SiteOption = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="A script that needs no slurmkit on the cluster.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a file, not standard output.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Print the batch script.

    Example: slurmkit render llama-finetune.yaml > job.sbatch && sbatch job.sbatch
    """
    import sys

    from slurmkit.api.preparing import load, prepare

    prepared = prepare(load(job, overrides or ()), site=site, portable=portable)
    text = prepared.plan.to_json() if as_json else prepared.script
    if output is None:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    else:
        output.write_text(text, encoding="utf-8")


def submit(
    jobs: Annotated[list[Path], typer.Argument(metavar="JOB.yaml...", help="One file or several.")],
    overrides: Overrides = None,
    site: SiteOption = None,
    backend: Backend = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and print the script; submit nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end; exit 1 if it fails.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the output; implies --wait.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check, render and submit a job.

    Example: slurmkit submit llama-finetune.yaml --set resources.nodes=4 --follow
    """
    from slurmkit import api
    from slurmkit.cli import output
    from slurmkit.cli.watch import follow_run, wait_for_run

    loaded = [api.load(path, overrides or ()) for path in jobs]
    if dry_run:
        for job in loaded:
            _show_dry_run(api.dry_run(job, site=site, backend=backend), as_json)
        return
    if follow and len(loaded) > 1:
        raise typer.BadParameter("--follow shows one run; use --wait for several")
    runs = api.submit_many(loaded, site=site, backend=backend, on_problem=output.print_problem)
    if as_json and not (wait or follow):
        output.print_json([run.describe() for run in runs])
        return
    for run in runs:
        output.note(f"submitted job {run.job_id} as {run.name}/{run.run_id}")
        output.note(f"  files  {run.dir}")
    if not (wait or follow):
        output.note(f"  watch  slurmkit logs {runs[-1].name} --follow")
        return
    ends = [follow_run(runs[0])] if follow else [wait_for_run(run) for run in runs]
    if as_json:
        output.print_json(ends)
    if any(not status.ok for status in ends):
        raise typer.Exit(1)


def _show_dry_run(result: Any, as_json: bool) -> None:
    from slurmkit.cli import output

    errors = [problem for problem in result.problems if not problem.warning]
    if as_json:
        output.print_json(
            {
                "ok": not errors,
                "problems": [output.problem_json(item) for item in result.problems],
                "script": result.prepared.script,
            }
        )
    else:
        output.print_problems(result.problems)
        output.echo(result.prepared.script.rstrip("\n"))
    if errors:
        raise typer.Exit(2)


def run(
    job: Annotated[
        Path | None, typer.Argument(metavar="JOB.yaml", help="The job's YAML file.")
    ] = None,
    overrides: Overrides = None,
    site: SiteOption = None,
    task: Annotated[
        int | None, typer.Option("--task", help="Which element of an array or sweep to run.")
    ] = None,
    hosts: Annotated[
        Path | None,
        typer.Option(
            "--hosts", metavar="HOSTS.yaml", help="Run on these hosts, by mpirun over SSH."
        ),
    ] = None,
    etc_hosts: Annotated[
        bool, typer.Option("--etc-hosts", help="Only print the hosts' lines for /etc/hosts.")
    ] = False,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="Only tidy the hosts of runs whose starter was killed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a job without Slurm, here or on hosts.

    The same job as local processes with the same environment: all ranks run on this machine, or,
    with --hosts, on those hosts.

    Example: slurmkit run llama-finetune.yaml --set resources.nodes=1
    """
    if hosts is not None:
        from slurmkit.cli import hosts as on_hosts

        if etc_hosts:
            on_hosts.print_etc_hosts(hosts)
            return
        if clean:
            raise typer.Exit(on_hosts.clean(hosts, site=site, as_json=as_json))
        code = on_hosts.run_hosts(
            job, hosts, overrides=overrides or (), site=site, task=task, as_json=as_json
        )
        raise typer.Exit(code)
    if etc_hosts or clean:
        raise typer.BadParameter("--etc-hosts and --clean need --hosts")
    if job is None:
        raise typer.BadParameter("which JOB.yaml?")
    import sys

    from slurmkit import api
    from slurmkit.cli import output

    stream = sys.stderr.buffer if as_json else sys.stdout.buffer

    def show(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    result = api.run_local(
        api.load(job, overrides or ()),
        site=site,
        task=task,
        on_output=show,
        on_problem=output.print_problem,
    )
    if as_json:
        output.print_json(result)
    else:
        why = f": {result.failure}" if result.failure else ""
        output.note(f"-- {result.name}: {result.state}{why}\n   files: {result.run_dir}")
    if result.exit_code:
        raise typer.Exit(1)
