"""The end of an attempt: wait for it, find out why it came, write that down, tell the policy."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.checkpoint.layout import CheckpointDir, StepSummary
from slurmkit.supervise.attempt import Attempt
from slurmkit.supervise.chronicle import note_unheard_commit
from slurmkit.supervise.clockwork import Times, ask_job, is_requeued_when_preempted
from slurmkit.supervise.context import JobContext
from slurmkit.supervise.ending import Fate, ask_states, fate_of
from slurmkit.supervise.journal import Journal
from slurmkit.supervise.policy_values import Cause, Committed, Ended, Event
from slurmkit.supervise.saying import say
from slurmkit.supervise.verdict import Seen, verdict

if TYPE_CHECKING:  # only jobs that somebody watches need them
    from slurmkit.slurm.control import RunningJob
    from slurmkit.supervise.watching import Watching

#: A launcher that does not end this long after TERM is killed; Slurm's KillWait is 30 s by default.
KILL_AFTER_S = 20.0
# A relaunch does not wait longer than this for the list of checkpoints.
_LOOK_S = 0.5


class Aftermath:
    """Follows attempts to their ends.

    Args:
        job: the job.
        journal: the ledger.
        supervised: whether there are remedies.
        checkpoints: the checkpoint folder.
        post: takes events of the policy.

    Attributes:
        watching: the nodes under watch; None where nobody watches them.
        warned_by: the warning signal that was passed on to the ranks; empty for none.
    """

    def __init__(
        self,
        job: JobContext,
        journal: Journal,
        supervised: bool,
        checkpoints: Path,
        post: Callable[[Event], None],
    ) -> None:
        self.watching: Watching | None = None
        self.warned_by = ""
        self._job = job
        self._supervised = supervised
        self._checkpoints = CheckpointDir(checkpoints)
        self._post = post
        self._journal = journal
        self._told: set[int] = set()  # commits that the ledger has

    async def see_through(self, attempt: Attempt, release: Callable[[], None]) -> None:
        """Wait for an attempt's end, write it down, and tell the policy.

        Args:
            attempt: the attempt.
            release: gives back what the launcher needed.
        """
        try:
            await attempt.ended()
        finally:
            release()
        if self.watching:
            self.watching.end_attempt()
        if attempt.cancelled:
            await self._find_commits(attempt)
            self._cancelled(attempt, attempt.cause)
            await attempt.drained()
            return
        await attempt.drained()
        await self._find_commits(attempt)
        fate = await asyncio.to_thread(self._fate, attempt)
        job = None
        if self._supervised and attempt.code and not fate.state:
            job = await asyncio.to_thread(ask_job, self._job)
        ended = await asyncio.to_thread(verdict, attempt, self._seen(fate, job))
        if ended.kind == "stopped" and not self._supervised:
            ended = await asyncio.to_thread(self._stopped, ended)
        own_state = ended.kind if ended.kind in ("stopped", "preempted") else ""
        reason = attempt.conclude(fate, own_state)
        if attempt.logs.problem:
            lost, why = attempt.logs.lost_bytes, attempt.logs.problem
            say(f"{lost} bytes of logs are lost: {why}")
        if reason:
            say(reason)
        self._tell(attempt, ended)

    def _cancelled(self, attempt: Attempt, cause: Cause | None) -> None:
        """The supervisor has ended it: why is known, and nobody needs to be asked."""
        if cause is None:
            attempt.conclude(Fate(), "stopped")
            self._post(Ended("stopped", "its time was over", attempt.code))
            return
        attempt.conclude(Fate(), "node_fail" if cause.kind == "node" else "failed", cause.reason)
        self._tell(attempt, Ended(cause.kind, cause.reason, attempt.code, host=cause.host))

    def _tell(self, attempt: Attempt, ended: Ended) -> None:
        if self._supervised and ended.kind != "done":
            attempt.note(
                "failure",
                kind=ended.kind,
                key=ended.key,
                host=ended.host,
                reason=ended.reason,
                step=self.watching.step if self.watching else None,
            )
        self._post(ended)

    def _seen(self, fate: Fate, job: "RunningJob | None") -> Seen:
        watching = self.watching
        if watching is None:
            return Seen(fate, job, self.warned_by)
        return Seen(fate, job, self.warned_by, watching.step, watching.verdicts, watching.failed_at)

    def _stopped(self, ended: Ended) -> Ended:
        """Return why ranks have stopped that the supervisor has not told to."""
        if is_requeued_when_preempted(self._job):
            return replace(ended, kind="preempted", reason="Slurm preempts the job")
        return ended

    def _fate(self, attempt: Attempt) -> Fate:
        """Return what Slurm is doing with the job, when that matters."""
        if attempt.code == 0 or attempt.concluded:
            return Fate()
        return fate_of(ask_states(self._job), attempt.said())

    async def conclude_in_time(self, attempt: Attempt, times: Times) -> None:
        """Write the last records before Slurm's KILL comes, unless the signal was no end.

        Args:
            attempt: the attempt, which a signal ends.
            times: how long that may take.
        """
        clock = asyncio.get_running_loop().time
        kill_at = clock() + KILL_AFTER_S
        while attempt.alive():
            await asyncio.sleep(min(times.conclude_after_s, max(0.1, kill_at - clock())))
            if not attempt.alive():
                return
            if not attempt.concluded:
                attempt.code = 128 + int(attempt.terminated or signal.SIGTERM)
                fate = await asyncio.to_thread(self._fate, attempt)
                if fate.state:
                    attempt.conclude(fate)
                    self._post(verdict(attempt, Seen(fate)))
            if clock() >= kill_at:
                attempt.kill()
                return

    async def _find_commits(self, attempt: Attempt) -> None:
        """Count and record commits that nobody has told of: a rank's last words may be lost."""
        found: list[StepSummary] = []
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            found = await asyncio.wait_for(asyncio.to_thread(self._unheard, attempt), _LOOK_S)
        for step in found:
            note_unheard_commit(self._journal, attempt.plan.number, step)
            self._post(Committed(step.step))

    def _unheard(self, attempt: Attempt) -> list[StepSummary]:
        """Return the checkpoints of an attempt that no agent has told of."""
        heard = self.watching.committed if self.watching else set()
        found = []
        for step in self._checkpoints.steps():
            if step in heard or step in self._told:
                continue
            with contextlib.suppress(CheckpointError):
                summary = self._checkpoints.summary(step)
                if summary.attempt == attempt.plan.number:
                    self._told.add(step)
                    found.append(summary)
        return found
