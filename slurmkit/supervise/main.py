"""``slurmkit supervise``: run one launch of a job and write down how it went."""

import os
import sys

from slurmkit.errors import SlurmkitError
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import LedgerWriter, new_incarnation
from slurmkit.supervise.attempt import Attempt
from slurmkit.supervise.context import job_context
from slurmkit.supervise.options import SUMMARY, parse_args


def main(args: list[str]) -> int:
    """Run the launch and return the launcher's exit code.

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
    run = RunDir(options.run_dir.absolute())
    incarnation = new_incarnation(job.job_id, job.restart_count)
    try:
        ledger = LedgerWriter(run.element(job.array_task), incarnation)
        attempt = Attempt(run, job, ledger, options.labels)
    except OSError as error:
        raise SlurmkitError(
            f"cannot write the run directory {run.path}: {error}",
            hint=f"it must be on a file system that {job.host} shares and that has room",
        ) from error
    try:
        return attempt.run(options.command)
    finally:
        ledger.close()
