"""exec, supervise and agent for --help; slurmkit.__main__ runs them before this is imported."""

import typer

_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    """Add the commands that the rendered script runs on compute nodes."""
    app.command("exec", context_settings=_PASS_ON)(exec_)
    app.command("supervise", context_settings=_PASS_ON)(supervise)
    app.command("agent", context_settings=_PASS_ON)(agent)


def exec_(context: typer.Context) -> None:
    """In a task: set rank variables.

    Then becomes the program. Example: srun -N2 slurmkit exec -- python train.py
    """
    from slurmkit.launch.main import main

    raise typer.Exit(main(context.args))


def supervise(context: typer.Context) -> None:
    """In a script: watch the launch.

    Written by the batch script: slurmkit supervise RUN_DIR -- srun ...
    """
    from slurmkit.supervise.main import main

    raise typer.Exit(main(context.args))


def agent(context: typer.Context) -> None:
    """On each node: watch its ranks.

    Started by the supervisor: slurmkit agent CONTROL_FILE
    """
    from slurmkit.supervise.agent import main

    raise typer.Exit(main(context.args))
