"""One attempt of a run: from the first ledger record to the last."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import MappingProxyType

from slurmkit.errors import SlurmkitError
from slurmkit.hooks.values import EndedJob
from slurmkit.launch.labels import Labels
from slurmkit.launch.outcome import TaskExit, root_cause, shell_code
from slurmkit.launch.ports import reserve
from slurmkit.launch.processes import NotStartedError, spawn
from slurmkit.launch.rendezvous import master_address, seed
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import LedgerWriter, StaleWriterError
from slurmkit.rundir.logs import MERGED_NAME, AttemptLogs, tail
from slurmkit.rundir.secretfile import read_secrets
from slurmkit.supervise.context import JobContext, step_hosts
from slurmkit.supervise.ending import Fate, ask_states, fate_of, remove_secrets_if_over
from slurmkit.supervise.exit_hooks import call_exit_hooks, hooks_of_job
from slurmkit.supervise.record import Recorder
from slurmkit.supervise.watch import PARENT_DEATH_SIGNAL, Watch

# Slurm kills us KillWait seconds after TERM, and how long that is we do not know: what must not be
# lost is written this long after TERM even when the ranks have not ended yet.
_CONCLUDE_AFTER_S = 2.0


class Attempt:
    """Runs one launch and writes down how it went.

    Args:
        run: the run.
        job: the job that this is.
        ledger: the ledger of the job's element.
        labels: who puts labels in front of the launcher's lines.
    """

    def __init__(self, run: RunDir, job: JobContext, ledger: LedgerWriter, labels: Labels) -> None:
        self._run_dir = run
        self._job = job
        self._ledger = ledger
        self._labels = labels
        self._element = run.element(job.array_task)
        self._number = self._element.new_attempt()
        self._logs = AttemptLogs(self._element.attempt_dir(self._number))
        self._watch = Watch(self)
        self._recorder: Recorder | None = None
        self._concluded = False
        self._conclude_at: float | None = None
        self._stale = False
        self._hooks = hooks_of_job()

    def run(self, command: Sequence[str]) -> int:
        """Start the launcher, watch it to its end and return its exit code as a shell has it."""
        with self._watch:
            return self._run(command)

    def _run(self, command: Sequence[str]) -> int:
        job = self._job
        self._element.ended_path.unlink(missing_ok=True)  # a requeued job has not ended after all
        secrets = read_secrets(self._run_dir.path) or {}
        hosts = step_hosts(command, job)
        recorder = Recorder(self._logs, self._labels, hosts, self._on_exit, secrets.values())
        self._recorder = recorder
        self._note(
            "attempt_started",
            job_id=job.job_id,
            array_task=job.array_task,
            restart_count=job.restart_count,
            nodes=job.nodes,
            host=job.host,
            command=list(command),
        )
        port, holder = reserve(seed(dict(os.environ)))
        try:
            code = self._launch(command, str(port), recorder)
        finally:
            if holder:
                holder.close()
            self._logs.close()
        self._conclude(code, self._fate(code))
        if self._logs.problem:
            _warn(f"{self._logs.lost_bytes} bytes of logs are lost: {self._logs.problem}")
        if self._hooks and not self._stale:
            call_exit_hooks(self._ended(code), recorder.exits, self._hooks, _warn)
        return code

    def _ended(self, code: int) -> EndedJob:
        assert self._recorder
        return EndedJob(
            job_id=self._job.job_id,
            attempt=self._number,
            exit_code=code,
            nodes=self._job.nodes,
            host=self._job.host,
            num_failed_tasks=len(self._recorder.exits) + self._recorder.num_omitted,
            run_dir=str(self._run_dir.path),
            environment=MappingProxyType(dict(os.environ)),
        )

    def _launch(self, command: Sequence[str], port: str, recorder: Recorder) -> int:
        env = self._environment(port)

        def start() -> "subprocess.Popen[bytes]":
            process = spawn(command, env, parent_death_signal=PARENT_DEATH_SIGNAL)
            self._note("step_started", rendezvous=f"{env['MASTER_ADDR']}:{port}")
            return process

        try:
            code = shell_code(self._watch.run(start))
        except NotStartedError as error:
            reason = str(error)
            recorder.add(TaskExit(None, self._job.host, error.shell_code, reason=reason))
            return error.shell_code
        if not self._watch.ended_by:
            recorder.finish(self._job.host, code)
        return code

    def _environment(self, port: str) -> dict[str, str]:
        """Return the environment of the launcher, and through it of every task."""
        env = dict(os.environ)
        env["MASTER_ADDR"] = master_address(env)
        env["MASTER_PORT"] = port
        env["SLURMKIT_RENDEZVOUS_HOST"] = self._job.host
        env["SLURMKIT_RUN_DIR"] = str(self._run_dir.path)
        env["SLURMKIT_ATTEMPT"] = str(self._number)
        env["SLURMKIT_INCARNATION"] = self._ledger.incarnation
        if self._hooks:
            env["SLURMKIT_HOOKS"] = self._hooks
        return env

    def output(self, chunk: bytes) -> None:
        """Take what the launcher wrote."""
        assert self._recorder
        self._recorder.output(chunk)

    def idle(self) -> None:
        """Pass on what waits for more output."""
        assert self._recorder
        self._recorder.idle()

    def ending(self, number: signal.Signals) -> None:
        """A signal ends the job."""
        self._note("attempt_ending", signal=number.name)
        self._conclude_at = time.monotonic() + _CONCLUDE_AFTER_S

    def tick(self) -> None:
        """Conclude before Slurm's KILL comes, unless the signal was somebody else's."""
        if self._conclude_at is None or time.monotonic() < self._conclude_at:
            return
        code = 128 + int(self._watch.ended_by or signal.SIGTERM)
        fate = self._fate(code)
        if fate.state:
            self._conclude_at = None
            self._conclude(code, fate)
        else:
            self._conclude_at = time.monotonic() + _CONCLUDE_AFTER_S

    def _fate(self, code: int) -> Fate:
        """Return what Slurm is doing with the job, when that matters."""
        if code == 0 or self._concluded:
            return Fate()
        return fate_of(ask_states(self._job), tail(self._logs.folder / MERGED_NAME))

    def _conclude(self, code: int, fate: Fate) -> None:
        """Write the attempt's last record, and clean up if it was the run's last."""
        if self._concluded:
            return
        self._concluded = True
        assert self._recorder
        state = fate.state or self._own_state(code)
        cause = root_cause(self._recorder.exits) if state == "failed" else None
        reason = ""
        if state == "failed":
            reason = str(cause) if cause else self._recorder.launcher_reason()
        self._note(
            "attempt_ended",
            exit_code=code,
            state=state,
            reason=reason,
            root_cause=cause.fields() if cause else None,
            num_task_exits_omitted=self._recorder.num_omitted,
        )
        if reason:
            _warn(reason)
        if not fate.again:
            self._remove_secrets()

    def _own_state(self, code: int) -> str:
        if self._watch.ended_by:
            return "cancelled"
        return "completed" if code == 0 else "failed"

    def _remove_secrets(self) -> None:
        if self._stale:
            return  # they are the newer incarnation's now
        try:
            if remove_secrets_if_over(self._run_dir, self._job):
                self._note("secrets_removed")
        except SlurmkitError as error:
            _warn(str(error))

    def _on_exit(self, exit_: TaskExit) -> None:
        self._note("task_exited", **exit_.fields())

    def _note(self, event: str, **fields: object) -> None:
        """Write to the ledger; a full disk must not end a run that computes."""
        if self._stale:
            return
        try:
            self._ledger.append(event, self._number, **fields)
        except StaleWriterError as error:
            self._stale = True
            _warn(str(error))
            self._watch.end()
        except OSError as error:
            _warn(f"the ledger could not be written: {error}")


def _warn(message: str) -> None:
    sys.stderr.write(f"slurmkit: {message}\n")
    sys.stderr.flush()
