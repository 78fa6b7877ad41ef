"""The nodes under watch: what their agents tell becomes events of the policy and ledger records."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from slurmkit.health.verdict import PASSED, SKIPPED, Verdict
from slurmkit.rundir.layout import ElementDir
from slurmkit.supervise import agent_events as seen
from slurmkit.supervise.agents import Agents, AgentSettings
from slurmkit.supervise.giving_up import GaveUp
from slurmkit.supervise.journal import Journal
from slurmkit.supervise.nodes import LiveTasks, Roll, to_drain
from slurmkit.supervise.options import Options
from slurmkit.supervise.policy_values import (
    Committed,
    Event,
    Hung,
    NodeBack,
    NodeLost,
    Tracked,
)

_PROGRESS_EVERY_S = 10.0
_ROLL_S = 90.0
# What Slurm has given up on may still end by itself.
_ENDS_S = 5.0
#: A supervisor that is away this long is dead, if the shared folder agrees.
PATIENCE_S = 6.0


class Watching:
    """All nodes of one life of a job.

    Args:
        options: the command line.
        element: the part of the run that this supervisor owns.
        journal: the ledger.
        attempt: tells the number of the present attempt.
        post: takes events of the policy.
        drain: asks the site to take a node out, given the reason.
    """

    def __init__(
        self,
        options: Options,
        element: ElementDir,
        journal: Journal,
        attempt: Callable[[], int],
        post: Callable[[Event], None],
        drain: Callable[[str, str], None],
    ) -> None:
        self.step: int | None = None
        self.failed_at: dict[int, int] = {}  # step by rank, of those that ended with an exception
        self.committed: set[int] = set()
        self.verdicts: dict[str, tuple[Verdict, ...]] = {}
        self._journal = journal
        self._number = attempt
        self._post = post
        self._drain = drain
        self._tasks = LiveTasks()
        self._roll = Roll(())
        self._restored: int | None = None
        self._epoch: int | None = None
        self._progress_at = 0.0
        self._first_step = False
        self._stuck: asyncio.TimerHandle | None = None
        self._running = 0  # the attempt that runs; 0 for none
        self._agents = Agents(
            element,
            journal.incarnation,
            heartbeat_s=options.heartbeat_s,
            on_event=self._on_event,
            settings=AgentSettings(
                hang=options.hang,
                preflight=options.preflight,
                successor=True,  # what they do then, the remedies in the ledger say
                patience_s=max(PATIENCE_S, 5 * options.heartbeat_s),
            ),
        )

    async def start(self, nodes: Sequence[str]) -> None:
        """Start an agent on each node.

        Raises:
            OSError: no port is free, or the run directory cannot be written.
        """
        self._roll = Roll(nodes)
        await self._agents.start()
        self._agents.launch(nodes)

    async def stop(self) -> None:
        """End the agents."""
        await self._agents.stop()

    async def roll_call(self) -> dict[str, str]:
        """Return the nodes not to use, each with the reason, once all nodes have answered."""
        return await self._roll.complete(_ROLL_S)

    def environment(self) -> dict[str, str]:
        """Return what tasks need to find their agent."""
        return self._agents.environment()

    def begin_attempt(self, number: int, nodes: Sequence[str]) -> None:
        """An attempt is about to be launched on these nodes."""
        self.step = self._restored = self._epoch = None
        self.failed_at = {}
        self._first_step = False
        self._stuck = None
        self._running = number
        self._tasks.clear()
        self._agents.begin_attempt(number, nodes)

    def end_attempt(self) -> None:
        """The step is over."""
        self._agents.end_attempt()
        self._running = 0
        if self._stuck:
            self._stuck.cancel()
        if self.step is not None:
            self._note_progress()

    def output_seen(self, attempt: int, gave_up: GaveUp | None) -> None:
        """Ranks have written something.

        Args:
            attempt: whose ranks; their last words may come when it is over.
            gave_up: that Slurm can do no more for the step, if that was among it.
        """
        self._agents.output_seen()
        if gave_up and not self._stuck and attempt == self._running:
            later = asyncio.get_running_loop().call_later
            self._stuck = later(_ENDS_S, self._step_stuck, gave_up)

    def excluded(self, host: str) -> None:
        """A node is not used any more."""
        self._tasks.lost(host)

    def tell_stop(self, why: str, deadline: float | None) -> None:
        """Tell every rank with a Session to save and to stop."""
        self._agents.tell(None, {"type": "stop", "deadline": deadline, "why": why})

    def cut_off(self, own_host: str) -> bool:
        """Whether no other node of the job can be heard."""
        return not [host for host in self._agents.hosts_up() if host != own_host]

    def abdicate(self, away: bool) -> None:
        """Let the agents of other nodes act for the job, or not any more."""
        self._agents.abdicate(away)

    async def tasks_gone(self, timeout_s: float) -> None:
        """Return once no rank of the last attempt holds a GPU or a port any more."""
        await self._tasks.all_gone(timeout_s)

    async def dump_stacks(self, folder: Path, timeout_s: float) -> list[Path]:
        """Save the Python stacks of every rank below the attempt's logs."""
        return await self._agents.dump_stacks(folder / "stacks", timeout_s)

    # -- what agents tell ---------------------------------------------------------------------

    def _note(self, event: str, **fields: object) -> None:
        self._journal.note(event, self._number(), **fields)

    def _on_event(self, event: seen.AgentEvent) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _up(self, event: seen.AgentUp) -> None:
        if any(verdict.verdict not in (PASSED, SKIPPED) for verdict in event.verdicts):
            verdicts = [verdict.fields() for verdict in event.verdicts]
            self._note("preflight", host=event.host, verdicts=verdicts)
        if event.verdicts:
            self.verdicts[event.host] = event.verdicts
        if bad := to_drain(event.verdicts):
            words = "; ".join(f"{verdict.check}: {verdict.detail}" for verdict in bad)
            self._drain(event.host, words)
        self._roll.up(event.host, event.verdicts)
        if event.returned:
            self._post(NodeBack(event.host))

    def _lost(self, event: seen.AgentLost) -> None:
        reason = f"{event.host} was silent for {event.silent_s:.1f} s ({event.why})"
        self._note("node_lost", host=event.host, silent_s=event.silent_s, why=event.why)
        self._tasks.lost(event.host)
        self._roll.lost(event.host, reason)
        self._post(NodeLost(event.host, reason))

    def _unfit(self, event: seen.NodeUnfit) -> None:
        reason = f"the site wants no job on {event.host}: {event.why}"
        self._note("node_unfit", host=event.host, why=event.why)
        self._roll.lost(event.host, reason)
        self._post(NodeLost(event.host, reason))

    def _task_up(self, event: seen.TaskUp) -> None:
        self._tasks.up(event.rank, event.host, event.pid)

    def _task_gone(self, event: seen.TaskGone) -> None:
        self._tasks.gone(event.host, event.pid)

    def _session(self, event: seen.SessionUp) -> None:
        if event.restored is not None:
            self._restored = event.restored
        self._post(Tracked())

    def _progress(self, event: seen.Progress) -> None:
        self.step, self._epoch = event.step, event.epoch
        if not self._first_step:
            self._first_step = True
            self._note("first_step", step=event.step, restored=self._restored)
        if time.monotonic() - self._progress_at >= _PROGRESS_EVERY_S:
            self._note_progress()

    def _note_progress(self) -> None:
        self._progress_at = time.monotonic()
        self._note("progress", step=self.step, epoch=self._epoch)

    def _committed(self, event: seen.Committed) -> None:
        self.committed.add(event.step)
        self._note(
            "checkpoint_committed",
            step=event.step,
            size_bytes=event.size_bytes,
            save_s=event.save_s,
            stall_s=event.stall_s,
        )
        self._post(Committed(event.step))

    def _save_failed(self, event: seen.SaveFailed) -> None:
        self._note("checkpoint_failed", step=event.step, error=event.error)

    def _quarantined(self, event: seen.Quarantined) -> None:
        self._note("checkpoint_quarantined", step=event.step, why=event.why)

    def _ending(self, event: seen.Ending) -> None:
        if event.why == "error" and event.step is not None:
            self.failed_at[event.rank] = event.step

    def _step_stuck(self, found: GaveUp) -> None:
        self._note("stuck", host=found.host, why=found.why)
        self._post(Hung((found.host,), found.why))

    def _hang(self, event: seen.Hang) -> None:
        hosts = self._tasks.hosts(event.ranks)
        reason = (
            f"no progress for {event.silent_s:.1f} s, {event.limit_s:.1f} s are allowed for"
            f" {event.what}"
        )
        self._note(
            "hang",
            silent_s=event.silent_s,
            limit_s=event.limit_s,
            ranks=list(event.ranks),
            hosts=list(hosts),
            stacks=[f"logs/attempt-{self._number()}/stacks"],
        )
        self._post(Hung(hosts, reason))


_HANDLERS: dict[type, Callable[..., None]] = {
    seen.AgentUp: Watching._up,
    seen.AgentLost: Watching._lost,
    seen.NodeUnfit: Watching._unfit,
    seen.TaskUp: Watching._task_up,
    seen.TaskGone: Watching._task_gone,
    seen.SessionUp: Watching._session,
    seen.Progress: Watching._progress,
    seen.Committed: Watching._committed,
    seen.SaveFailed: Watching._save_failed,
    seen.Quarantined: Watching._quarantined,
    seen.Ending: Watching._ending,
    seen.Hang: Watching._hang,
}
