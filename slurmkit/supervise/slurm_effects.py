"""What the supervisor asks of Slurm: end or signal a step, submit a successor, requeue the job.

Slurm's programs run in threads. While no controller answers, nothing that was decided can be done,
and it is tried again: the controller may be restarted, or it is this node that is cut off.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from slurmkit.errors import SlurmError, SlurmUnreachableError
from slurmkit.rundir.layout import RunDir
from slurmkit.supervise.clockwork import ask_job
from slurmkit.supervise.context import JobContext

if TYPE_CHECKING:  # few jobs need them
    from slurmkit.slurm.control import JobControl
    from slurmkit.supervise.watching import Watching

#: Set to 1 by sites whose operators run jobs, or let them drain nodes.
DRAIN_VARIABLE = "SLURMKIT_DRAIN"
_RETRY_S = 1.0
_SCANCEL_S = 3.0
_CUT_OFF_S = 6.0
# Nodes that only we could not hear are heard again this soon after Slurm answers.
_BACK_S = 10.0
_T = TypeVar("_T")


class SlurmEffects:
    """Slurm, as far as one job's supervisor uses it.

    Args:
        job: the job.
        warn: is told what does not work.
    """

    def __init__(self, job: JobContext, warn: Callable[[str], None]) -> None:
        self._job = job
        self._warn = warn

    async def end_step(self, name: str) -> bool:
        """Kill every task of a step; does not wait for nodes that do not answer.

        Args:
            name: the step's name.

        Returns:
            False when no controller answers.
        """
        if not self._job.key:
            return True
        try:
            await asyncio.to_thread(self._on_steps, name, _cancel_step)
        except SlurmUnreachableError as error:
            if not await self.answers():
                return False
            self._warn(f"the step may still run: {error.message}")
        except SlurmError as error:
            self._warn(f"the step could not be cancelled: {error.message}")
        return True

    async def answers(self) -> bool:
        """Whether a controller answers."""
        return not self._job.key or await asyncio.to_thread(_answers)

    async def back(self, watching: "Watching | None") -> None:
        """Wait for a controller: it may be restarted, or this node may be cut off.

        What is decided meanwhile could not be done. When no other node of the job is heard either,
        it is this node: the agents of the others may then act for the job.
        """
        self._warn("Slurm does not answer: waiting for it")
        clock = asyncio.get_running_loop().time
        since = clock()
        while not await self.answers():
            if watching and clock() - since > _CUT_OFF_S:
                watching.abdicate(watching.cut_off(self._job.host))
            await asyncio.sleep(_RETRY_S)
        if watching:
            watching.abdicate(False)
            deadline = clock() + _BACK_S
            while watching.cut_off(self._job.host) and clock() < deadline:
                await asyncio.sleep(_RETRY_S / 10)

    async def drain(self, host: str, why: str) -> None:
        """Ask for a node to be drained, where the site lets jobs do so (SLURMKIT_DRAIN=1)."""
        if os.environ.get(DRAIN_VARIABLE) != "1":
            return
        from slurmkit.health.reason import make_reason  # noqa: PLC0415
        from slurmkit.slurm.control import JobControl  # noqa: PLC0415

        try:
            await asyncio.to_thread(JobControl().drain, host, make_reason(host, why))
        except SlurmError as error:
            self._warn(f"{host} could not be drained: {error.message}")

    async def pass_on_term(self, name: str) -> None:
        """Give the ranks the TERM that only the supervisor got.

        When Slurm ends the job they have had it. Not through srun: it would kill them at once (seen
        on 22.05).
        """
        if not self._job.key:
            return
        job = await asyncio.to_thread(ask_job, self._job)
        if job is None or str(job.state) != "RUNNING":
            return
        with contextlib.suppress(SlurmError):
            await asyncio.to_thread(self._on_steps, name, _terminate_step)

    def _on_steps(self, name: str, act: Callable[["JobControl", str], None]) -> None:
        from slurmkit.slurm.control import JobControl  # noqa: PLC0415

        control = JobControl(timeout_s=_SCANCEL_S)
        for step in control.steps(self._job.key):
            if step.name == name:
                act(control, step.id)

    async def submit_successor(self, run: RunDir, incarnation: str, exclude: Iterable[str]) -> str:
        """Submit the job that goes on with the run, and return its id.

        Raises:
            SlurmkitError: Slurm refuses it.
        """
        from slurmkit.supervise import successor  # noqa: PLC0415

        job = self._job
        former = successor.Predecessor(
            job.job_id, job.key, incarnation, job.array_task, job.array_size
        )
        return await self._patiently(partial(successor.submit, run, former, tuple(exclude)))

    async def requeue(self) -> None:
        """Let Slurm start the job again; it kills this process within a second.

        Raises:
            SlurmkitError: Slurm refuses.
        """
        from slurmkit.slurm.control import JobControl  # noqa: PLC0415

        await self._patiently(partial(JobControl().requeue, self._job.key))

    async def _patiently(self, work: Callable[[], _T]) -> _T:
        """Do it in a thread, again and again while no controller answers."""
        while True:
            try:
                return await asyncio.to_thread(work)
            except SlurmUnreachableError as error:
                self._warn(f"waiting for Slurm: {error.message}")
                await asyncio.sleep(_RETRY_S)


def _cancel_step(control: "JobControl", step: str) -> None:
    control.cancel_step(step)


def _terminate_step(control: "JobControl", step: str) -> None:
    control.signal_step(step, "TERM")


def _answers() -> bool:
    from slurmkit.slurm.control import JobControl  # noqa: PLC0415

    try:
        return JobControl(timeout_s=_SCANCEL_S).answers()
    except SlurmUnreachableError:
        return False
