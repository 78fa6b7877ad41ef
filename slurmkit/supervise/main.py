"""``slurmkit supervise``: run one launch of a job and write down how it went."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.launch.outcome import TaskExit, root_cause, shell_code
from slurmkit.launch.ports import reserve
from slurmkit.launch.processes import NotStartedError, spawn
from slurmkit.launch.rendezvous import master_address, seed
from slurmkit.rundir.layout import ElementDir, RunDir
from slurmkit.rundir.ledger import LedgerWriter, StaleWriterError, new_incarnation
from slurmkit.rundir.logs import AttemptLogs
from slurmkit.supervise.context import JobContext, job_context, step_hosts
from slurmkit.supervise.ending import remove_secrets_if_over
from slurmkit.supervise.labels import LABELS, Labels
from slurmkit.supervise.record import Recorder
from slurmkit.supervise.watch import PARENT_DEATH_SIGNAL, Watch

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
    element = run.element(job.array_task)
    ledger = LedgerWriter(element, new_incarnation(job.job_id, job.restart_count))
    try:
        return _Launch(options, job, element, ledger).run(run)
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


class _Launch:
    """One attempt of one element, from its first ledger record to its last."""

    def __init__(
        self, options: Options, job: JobContext, element: ElementDir, ledger: LedgerWriter
    ) -> None:
        self._options = options
        self._job = job
        self._element = element
        self._ledger = ledger
        self._attempt = element.new_attempt()
        self._watch: Watch | None = None

    def run(self, run: RunDir) -> int:
        job, command = self._job, self._options.command
        element_ended = self._element.ended_path
        element_ended.unlink(missing_ok=True)  # a requeued element has not ended after all
        port, holder = reserve(seed(dict(os.environ)))
        env = self._environment(run, str(port))
        self._note(
            "attempt_started",
            job_id=job.job_id,
            array_task=job.array_task,
            restart_count=job.restart_count,
            nodes=job.nodes,
            host=job.host,
            command=list(command),
        )
        logs = AttemptLogs(self._element.attempt_dir(self._attempt))
        recorder = Recorder(logs, self._options.labels, step_hosts(command, job), self._on_exit)
        try:
            code, state = self._supervise(env, recorder)
        finally:
            logs.close()
            if holder:
                holder.close()
        self._note_end(recorder, code, state)
        if logs.problem:
            _warn(f"{logs.lost_bytes} bytes of logs are lost: {logs.problem}")
        if remove_secrets_if_over(run, job, cancelled=state == "cancelled"):
            self._note("secrets_removed")
        return code

    def _environment(self, run: RunDir, port: str) -> dict[str, str]:
        """Return the environment of the launcher, and through it of every task."""
        env = dict(os.environ)
        env["MASTER_ADDR"] = master_address(env)
        env["MASTER_PORT"] = port
        env["SLURMKIT_RENDEZVOUS_HOST"] = self._job.host
        env["SLURMKIT_RUN_DIR"] = str(run.path)
        env["SLURMKIT_ATTEMPT"] = str(self._attempt)
        env["SLURMKIT_INCARNATION"] = self._ledger.incarnation
        return env

    def _supervise(self, env: dict[str, str], recorder: Recorder) -> tuple[int, str]:
        """Run the launcher; return its exit code as a shell has it, and what became of it."""

        def start() -> "subprocess.Popen[bytes]":
            process = spawn(self._options.command, env, parent_death_signal=PARENT_DEATH_SIGNAL)
            self._note("step_started", rendezvous=f"{env['MASTER_ADDR']}:{env['MASTER_PORT']}")
            return process

        self._watch = Watch(recorder.output, recorder.idle)
        try:
            code = shell_code(self._watch.run(start))
        except NotStartedError as error:
            recorder.add(TaskExit(None, self._job.host, error.shell_code, reason=str(error)))
            return error.shell_code, "failed"
        if self._watch.ended_by:
            recorder.idle()
            return code, "cancelled"
        recorder.finish(self._job.host, code)
        return code, "completed" if code == 0 else "failed"

    def _on_exit(self, exit_: TaskExit) -> None:
        self._note("task_exited", **exit_.fields())
        if not exit_.consequence:
            _warn(str(exit_))

    def _note_end(self, recorder: Recorder, code: int, state: str) -> None:
        cause = root_cause(recorder.exits) if state == "failed" else None
        reason = ""
        if state == "failed":
            reason = str(cause) if cause else recorder.launcher_reason()
        self._note(
            "attempt_ended",
            exit_code=code,
            state=state,
            reason=reason,
            root_cause=cause.fields() if cause else None,
            num_task_exits_omitted=recorder.num_omitted,
        )

    def _note(self, event: str, **fields: object) -> None:
        """Write to the ledger; a full disk must not end a run that computes."""
        try:
            self._ledger.append(event, self._attempt, **fields)
        except StaleWriterError as error:
            _warn(str(error))
            if self._watch:
                self._watch.end()
        except OSError as error:
            _warn(f"the ledger could not be written: {error}")


def _warn(message: str) -> None:
    sys.stderr.write(f"slurmkit: {message}\n")
    sys.stderr.flush()
