"""``slurmkit supervise``: run one launch of a job and write down how it went."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.launch.labels import LABELS, Labels
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import LedgerWriter, new_incarnation
from slurmkit.supervise.attempt import Attempt
from slurmkit.supervise.context import job_context

USAGE = f"""\
Usage: slurmkit supervise RUN_DIR [--labels {"|".join(LABELS)}] -- COMMAND [ARG]...

Run COMMAND, usually srun, for the run in RUN_DIR: choose where its ranks meet, split its output
into one log per rank, keep the ledger, relay signals, and exit with its code. Scripts that slurmkit
renders call this.

  --labels KIND  who puts labels in front of lines [default: srun]

Example: slurmkit supervise runs/job-17 -- srun --label --ntasks=8 slurmkit exec -- python train.py
"""


@dataclass(frozen=True)
class Options:
    """The command line."""

    run_dir: Path
    labels: Labels
    command: tuple[str, ...]


def main(args: list[str]) -> int:
    """Run the launch and return the launcher's exit code.

    Args:
        args: the command line behind ``supervise``.

    Raises:
        SlurmkitError: the command line is wrong, or the run directory cannot be written.
    """
    if "--help" in args[:1] or "-h" in args[:1]:
        sys.stdout.write(USAGE)
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


def parse_args(args: list[str]) -> Options:
    """Return what the command line says.

    Raises:
        UsageError: it says something else.
    """
    if "--" not in args:
        raise UsageError("slurmkit supervise needs -- COMMAND", hint=USAGE.partition("\n")[0])
    cut = args.index("--")
    own, command = args[:cut], args[cut + 1 :]
    labels = "srun"
    folders: list[str] = []
    words = iter(own)
    for word in words:
        if word == "--labels":
            labels = next(words, "")
        elif word.startswith("--labels="):
            labels = word.removeprefix("--labels=")
        elif word.startswith("-"):
            raise UsageError(f"slurmkit supervise has no option {word}")
        else:
            folders.append(word)
    if labels not in LABELS:
        raise UsageError(f"--labels {labels!r}: choose one of {', '.join(LABELS)}")
    if len(folders) != 1 or not command:
        raise UsageError(
            "slurmkit supervise needs one run directory and a command",
            hint=USAGE.partition("\n")[0],
        )
    return Options(Path(folders[0]), labels, tuple(command))
