"""What is done when a job ends: records, secrets, what ranks have left, and the site's hooks."""

import asyncio
import os
from types import MappingProxyType

from slurmkit.errors import SlurmkitError
from slurmkit.hooks.values import EndedJob
from slurmkit.rundir.layout import RunDir
from slurmkit.supervise.aftermath import KILL_AFTER_S
from slurmkit.supervise.attempt import Attempt
from slurmkit.supervise.context import JobContext
from slurmkit.supervise.ending import remove_secrets_if_over
from slurmkit.supervise.exit_hooks import call_exit_hooks
from slurmkit.supervise.journal import Journal
from slurmkit.supervise.policy_values import Finish
from slurmkit.supervise.saying import say
from slurmkit.supervise.tidying import leave_nothing


class Closing:
    """The end of one life of a job.

    Args:
        run: the run directory.
        job: the job.
        journal: the ledger.
        hooks: the names of the site's exit hooks; empty for none.
    """

    def __init__(self, run: RunDir, job: JobContext, journal: Journal, hooks: str) -> None:
        self._run = run
        self._job = job
        self._journal = journal
        self._hooks = hooks

    async def finish(
        self, action: Finish, attempt: Attempt | None, number: int, *, by_step: bool
    ) -> None:
        """Do what remains; what must not be lost comes first, as Slurm may be about to kill us.

        Args:
            action: how the job ends.
            attempt: the last one; None when there was none.
            number: its number.
            by_step: whether other nodes are to be tidied by a step of the job.
        """
        if action.completed:
            self._journal.note("run_completed", number)
        over = not (action.again or self._journal.stale)
        if over and await asyncio.to_thread(self._remove_secrets):
            self._journal.note("secrets_removed", number)
        await self._journal.flush()
        if attempt is not None:
            await _outlived(attempt)
            await asyncio.to_thread(self._leave_nothing, attempt, by_step)
            if not self._journal.stale:
                await self.call_hooks(attempt, action.code)

    async def call_hooks(self, attempt: Attempt, code: int) -> None:
        """Call the site's exit hooks, if there are any, for the last attempt of the job."""
        if self._hooks:
            await asyncio.to_thread(self._call_hooks, attempt, code)

    def _remove_secrets(self) -> bool:
        """Remove the run's secrets once no element of the job needs them."""
        try:
            return remove_secrets_if_over(self._run, self._job)
        except SlurmkitError as error:
            say(str(error))
            return False

    def _leave_nothing(self, attempt: Attempt, by_step: bool) -> None:
        # Ranks that ended well left nothing that a step is worth.
        nodes = attempt.plan.nodes if by_step and attempt.code != 0 else ()
        if done := leave_nothing(self._job, self._journal.incarnation, nodes):
            say(f"left by the ranks on {self._job.host}: {done}")

    def _call_hooks(self, attempt: Attempt, code: int) -> None:
        job, exits = self._job, attempt.recorder.exits
        ended = EndedJob(
            job_id=job.job_id,
            attempt=attempt.plan.number,
            exit_code=code,
            nodes=job.nodes,
            host=job.host,
            num_failed_tasks=len(exits) + attempt.recorder.num_omitted,
            run_dir=str(attempt.plan.env["SLURMKIT_RUN_DIR"]),
            environment=MappingProxyType(dict(os.environ)),
        )
        call_exit_hooks(ended, exits, self._hooks, say)


async def _outlived(attempt: Attempt) -> None:
    """Return when the launcher has ended, which it may not have if Slurm ends the job."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + KILL_AFTER_S
    while attempt.alive() and clock() < deadline:
        await asyncio.sleep(0.05)
    if attempt.alive():
        attempt.kill()
