"""``slurmkit supervise``: run the program of a job, see it through, and write down how it went."""

import asyncio
import contextlib
import os
import sys
from functools import partial
from pathlib import Path

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.jobs import is_cancelled
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import LedgerWriter, new_incarnation, read_ledger
from slurmkit.supervise.boot import (
    Life,
    Past,
    after_hand_over,
    inherited,
    initial_state,
    past_of,
    successor_of,
)
from slurmkit.supervise.context import CONTINUE_VARIABLE, JobContext, job_context, step_hosts
from slurmkit.supervise.journal import Journal
from slurmkit.supervise.options import SUMMARY, Options, parse_args
from slurmkit.supervise.policy_values import Rules
from slurmkit.supervise.relaunch import can_move, num_nodes
from slurmkit.supervise.saying import say
from slurmkit.supervise.supervisor import Supervisor


def main(args: list[str]) -> int:
    """Run the job and return the exit code of its script.

    Args:
        args: the command line behind ``supervise``.

    Raises:
        SlurmkitError: the command line is wrong, or the run directory cannot be written.
    """
    if "--help" in args[:1] or "-h" in args[:1]:
        sys.stdout.write(SUMMARY)
        return 0
    options = parse_args(args)
    job = job_context(os.environ)
    folder = os.environ.get(CONTINUE_VARIABLE) or options.run_dir
    run = RunDir(Path(folder).absolute())
    try:
        past = past_of(read_ledger(run.element(job.array_task).ledger_path))
        if options.remedies and (reason := _nothing_to_do(run, job, past)):
            say(reason)
            return 0
        ledger = LedgerWriter(
            run.element(job.array_task), new_incarnation(job.job_id, job.restart_count)
        )
    except OSError as error:
        raise SlurmkitError(
            f"cannot write the run directory {run.path}: {error}",
            hint=f"it must be on a file system that {job.host} shares and that has room",
        ) from error
    try:
        return asyncio.run(_supervise(options, job, run, past, ledger))
    finally:
        with contextlib.suppress(OSError):  # what it holds is on disk; the exit code has to arrive
            ledger.close()


def _nothing_to_do(run: RunDir, job: JobContext, past: Past) -> str:
    """Return why this start is not wanted; empty when it is."""
    if past.completed:
        return "the run is complete: nothing to do"
    if is_cancelled(run, job.array_task):
        return "the run was cancelled; `slurmkit resume` lets it go on"
    successor = successor_of(job.job_id, past, run.element(job.array_task))
    return f"job {successor} goes on with this run: nothing to do" if successor else ""


async def _supervise(
    options: Options, job: JobContext, run: RunDir, past: Past, ledger: LedgerWriter
) -> int:
    handed = inherited(job.job_id, past, run.element(job.array_task))
    past = after_hand_over(past, handed)
    rules = _rules(options, job)
    state = initial_state(rules, past)
    life = Life(options, job, run, past, handed, rules.can_move)
    return await Supervisor(life, state, partial(Journal, ledger, warn=say)).run()


def _rules(options: Options, job: JobContext) -> Rules:
    return Rules(
        remedies=options.remedies,
        num_nodes=num_nodes(options.command) or len(step_hosts(options.command, job)) or 1,
        min_nodes=options.min_nodes,
        max_restarts=options.max_restarts,
        can_move=can_move(options.command, os.environ),
    )
