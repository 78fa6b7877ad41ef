"""Waiting for a run on the command line: what changes is said once, and a terminal sees it live."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slurmkit.cli.output import note
from slurmkit.cli.show import print_end, state_line

if TYPE_CHECKING:
    from slurmkit.api import Run, RunStatus


def follow_run(run: "Run") -> "RunStatus":
    """Print the run's output as it comes, and its end; Ctrl-C leaves the run alone."""
    with _may_be_left(run):
        for chunk in run.logs(follow=True, on_change=_say_state):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return _end(run)


def wait_for_run(run: "Run") -> "RunStatus":
    """Wait for the end of the run and say it; Ctrl-C leaves the run alone."""
    with _may_be_left(run):
        if not sys.stderr.isatty():
            run.wait(on_change=_say_state)
            return _end(run)
        from rich.console import Console

        console = Console(stderr=True)
        start = time.monotonic()
        with console.status(f"{run.name}: submitted") as spinner:

            def show(status: "RunStatus") -> None:
                spinner.update(f"{state_line(status)}  {time.monotonic() - start:.0f} s")

            run.wait(on_change=show)
        return _end(run)


def _say_state(status: "RunStatus") -> None:
    if not status.done:
        note(f"-- {state_line(status)}")


def _end(run: "Run") -> "RunStatus":
    status = run.status()
    print_end(status)
    return status


@contextmanager
def _may_be_left(run: "Run") -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        note(f"\n{run.name} goes on as job {run.job_id}")
        note(f"  watch   slurmkit logs {run.name} --follow")
        note(f"  end it  slurmkit cancel {run.name}")
        raise
