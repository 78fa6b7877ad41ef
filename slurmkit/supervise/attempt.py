"""One attempt of a run: one launch, from its first ledger record to its last."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slurmkit.launch.outcome import TaskExit, root_cause, shell_code
from slurmkit.launch.processes import NotStartedError
from slurmkit.rundir.logs import MERGED_NAME, AttemptLogs, tail
from slurmkit.supervise.context import JobContext
from slurmkit.supervise.ending import Fate
from slurmkit.supervise.journal import Journal
from slurmkit.supervise.launcher import Launcher
from slurmkit.supervise.policy_values import Cause
from slurmkit.supervise.record import Recorder


@dataclass(frozen=True)
class Plan:
    """What one attempt is to do.

    Attributes:
        number: the attempt, from 1 over the whole run.
        folder: where its logs go; it exists.
        command: the launcher and all behind it.
        env: its environment.
        nodes: the hosts of the step, in order.
        rendezvous: where the ranks meet, for the ledger.
    """

    number: int
    folder: Path
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    nodes: tuple[str, ...] = ()
    rendezvous: str = ""


class Attempt:
    """Runs one launch and writes down how it went.

    Args:
        plan: what to do.
        job: the job that this is.
        journal: the ledger.
        recorder: makes the recorder of its output, given the logs and who is told of failed tasks.
        on_output: is told, in the reading thread, that ranks have written something.
    """

    def __init__(
        self,
        plan: Plan,
        job: JobContext,
        journal: Journal,
        recorder: Callable[[AttemptLogs, list[str], Callable[[TaskExit], None]], Recorder],
        on_output: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.code = 0
        self.cancelled = False
        self.cause: Cause | None = None
        self.concluded = False
        self.terminated: signal.Signals | None = None
        self.logs = AttemptLogs(plan.folder)
        self._job = job
        self._journal = journal
        self._on_output = on_output
        self._launcher: Launcher | None = None
        self._not_started: NotStartedError | None = None
        self.recorder = recorder(self.logs, list(plan.nodes), self._on_exit)

    def note(self, event: str, **fields: object) -> None:
        """Write a record of this attempt."""
        self._journal.note(event, self.plan.number, **fields)

    def begin(self) -> None:
        """Start the launcher; that it cannot be started shows when its end is waited for."""
        job, plan = self._job, self.plan
        self.note(
            "attempt_started",
            job_id=job.job_id,
            array_task=job.array_task,
            restart_count=job.restart_count,
            nodes=job.nodes,
            step_nodes=list(plan.nodes),
            host=job.host,
            command=list(plan.command),
        )
        try:
            self._launcher = Launcher(plan.command, plan.env, self)
        except NotStartedError as error:
            self._not_started = error
            return
        self.note("step_started", rendezvous=plan.rendezvous)

    async def ended(self) -> int:
        """Return the launcher's exit code, as a shell has it, once it has ended."""
        if self._launcher is None:
            assert self._not_started is not None
            self.code = self._not_started.shell_code
            reason = str(self._not_started)
            self.recorder.add(TaskExit(None, self._job.host, self.code, reason=reason))
            return self.code
        self.code = shell_code(await self._launcher.wait())
        return self.code

    async def drained(self) -> None:
        """Return once its output has been taken and what its last words tell is recorded."""
        if self._launcher is not None:
            await self._launcher.drained()
            if not (self.cancelled or self.terminated):
                await asyncio.to_thread(self.recorder.finish, self._job.host, self.code)
        self.logs.close()

    def alive(self) -> bool:
        """Whether the launcher runs."""
        return self._launcher is not None and self._launcher.alive()

    def signal(self, number: int) -> None:
        """Send a signal to the launcher alone."""
        if self._launcher is not None:
            self._launcher.signal(number)

    def kill(self) -> None:
        """Kill the launcher and its children; what it has started elsewhere goes on."""
        if self._launcher is not None:
            self._launcher.kill()

    def cancel(self, cause: Cause | None) -> None:
        """Kill the launcher because the supervisor wants the attempt to end.

        Args:
            cause: what made it want that; None when its time is over.
        """
        self.cancelled = True
        self.cause = cause
        self.kill()

    def conclude(self, fate: Fate, own_state: str = "", reason: str = "") -> str:
        """Write the attempt's last record, once, and return the reason for its failure.

        Args:
            fate: what Slurm is doing with the job.
            own_state: what to say when Slurm is doing nothing; empty to judge by the exit code.
            reason: why it failed; empty to judge by what tasks and launcher said.
        """
        if self.concluded:
            return ""
        self.concluded = True
        state = fate.state or own_state or self._own_state()
        cause = root_cause(self.recorder.exits) if state == "failed" else None
        if state == "failed" and not reason:
            reason = str(cause) if cause else self.recorder.launcher_reason()
        self.note(
            "attempt_ended",
            exit_code=self.code,
            state=state,
            reason=reason,
            root_cause=cause.fields() if cause else None,
            num_task_exits_omitted=self.recorder.num_omitted,
        )
        return reason

    def tails(self) -> dict[int, str]:
        """Return the end of the log of each rank that failed."""
        ranks = {exit_.rank for exit_ in self.recorder.exits if exit_.rank is not None}
        return {rank: self.logs.rank_tail(rank).decode("utf-8", "replace") for rank in ranks}

    def said(self) -> bytes:
        """Return the end of what ranks and launcher wrote."""
        return tail(self.logs.folder / MERGED_NAME)

    def _own_state(self) -> str:
        if self.terminated:
            return "cancelled"
        return "completed" if self.code == 0 else "failed"

    def _on_exit(self, exit_: TaskExit) -> None:
        self.note("task_exited", **exit_.fields())

    # -- in the reading thread

    def output(self, chunk: bytes) -> None:
        """Take what the launcher wrote."""
        self.recorder.output(chunk)
        self._on_output()

    def idle(self) -> None:
        """Pass on what waits for more output."""
        self.recorder.idle()


def attempt_environment(base: Mapping[str, str], own: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment of a launcher, and through it of every task.

    Args:
        base: the supervisor's own.
        own: what the attempt sets; None removes.
    """
    env = dict(base)
    for name, value in own.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env
