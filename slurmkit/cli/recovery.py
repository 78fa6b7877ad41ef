"""Commands on what a run went through: report, explain, ckpt."""

from typing import Annotated

import typer

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Run name (the newest), run id, job id or folder.")
]
Where = Annotated[
    str, typer.Argument(metavar="RUN", help="Run name, id or folder; or a folder of checkpoints.")
]
Site = Annotated[str | None, typer.Option("--site", help="site.yaml, or the folder it is in.")]
Task = Annotated[int | None, typer.Option("--task", help="Only this array element.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Step = Annotated[int, typer.Argument(metavar="STEP", help="The step that the files belong to.")]
Folder = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="Folder of checkpoints, or a run. Default: $SLURMKIT_CHECKPOINT_DIR.",
    ),
]

ckpt = typer.Typer(help="The checkpoints of a run.", rich_markup_mode=None, no_args_is_help=True)


def report(run: RunName, site: Site = None, as_json: AsJson = False) -> None:
    """Show where a run's time went.

    Productive, checkpoint, lost, restart and queued add up to the time from the first start to the
    end. Reads the run directory alone.

    Example: slurmkit report llama-finetune
    """
    from slurmkit import api
    from slurmkit.cli import output, show_recovery

    result = api.report(run, site=site)
    if as_json:
        output.print_json(result)
    else:
        show_recovery.print_report(result)


def explain(run: RunName, site: Site = None, task: Task = None, as_json: AsJson = False) -> None:
    """Tell what happened to a run, and why.

    Every start, failure and decision in plain words, in the order in which it happened.

    Example: slurmkit explain llama-finetune
    """
    from slurmkit import api
    from slurmkit.cli import output, show_recovery

    result = api.explain(run, site=site)
    if as_json:
        output.print_json(result)
    else:
        show_recovery.print_story(result, task)


@ckpt.command("list")
def list_steps(run: Where, task: Task = None, site: Site = None, as_json: AsJson = False) -> None:
    """List the checkpoints of a run, and what was put aside.

    Example: slurmkit ckpt list llama-finetune
    """
    from slurmkit import api
    from slurmkit.cli import output, show_recovery

    found = api.list_checkpoints(run, task=task, site=site)
    if as_json:
        output.print_json(found)
    else:
        show_recovery.print_checkpoints(found)


@ckpt.command("verify")
def verify(
    run: Where,
    steps: Annotated[
        list[int] | None, typer.Option("--step", help="This step. Default: all.")
    ] = None,
    task: Task = None,
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """Read checkpoints and compare every byte with what was written.

    Changes nothing; ends with 1 when one is damaged.

    Example: slurmkit ckpt verify llama-finetune
    """
    from slurmkit import api
    from slurmkit.cli import output, show_recovery

    verdicts = api.verify_checkpoints(run, steps, task=task, site=site)
    ok = all(verdict.ok for verdict in verdicts)
    if as_json:
        output.print_json({"ok": ok, "checkpoints": verdicts})
    else:
        show_recovery.print_verdicts(verdicts)
    if not ok:
        raise typer.Exit(1)


@ckpt.command("prune")
def prune(
    run: Where,
    keep: Annotated[int, typer.Option("--keep", help="How many of the newest stay.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    task: Task = None,
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """Remove the oldest checkpoints, once the newest has been read and is whole.

    Example: slurmkit ckpt prune llama-finetune --keep 1
    """
    from slurmkit import api
    from slurmkit.cli import output, show_recovery

    found = api.prune_checkpoints(run, keep, dry_run=dry_run, task=task, site=site)
    if as_json:
        output.print_json(found)
    else:
        show_recovery.print_pruned(found, dry_run=dry_run)


@ckpt.command("newest")
def newest(run: Folder = None) -> None:
    """In a task, at its start: print the folder to restart from; nothing when there is none.

    Reads the newest step completely; what is damaged is put into quarantine, and the one before is
    tried. $SLURMKIT_RESTART_DIR holds the same in jobs of kind mpi and command.

    Example: restart=$(slurmkit ckpt newest)
    """
    from slurmkit import api
    from slurmkit.cli import output

    found = api.newest_checkpoint(run)
    if found is not None:
        output.echo(str(found))


@ckpt.command("begin")
def begin(step: Step, run: Folder = None) -> None:
    """In a task: print the folder to write a step's files into.

    For programs that are not in Python; `slurmkit ckpt commit` makes the files count.

    Example: dir=$(slurmkit ckpt begin 1200)
    """
    from slurmkit import api
    from slurmkit.cli import output

    output.echo(str(api.begin_checkpoint(step, run)))


@ckpt.command("commit")
def commit(
    step: Step,
    run: Folder = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="DIR", help="Take over the files of this folder."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", help="Remove older steps. Default: $SLURMKIT_CHECKPOINT_KEEP."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """In a task: make the files of a step count, all of them or none.

    One task calls it, when all have written and closed their files. Whoever is not the newest start
    of the job any more is refused.

    Example: slurmkit ckpt commit 1200
    """
    from slurmkit import api
    from slurmkit.cli import output

    done = api.commit_checkpoint(step, run, source=source, keep=keep)
    if as_json:
        output.print_json(done)
    else:
        output.echo(f"committed step {done.step}: {done.num_files} files in {done.folder}")
