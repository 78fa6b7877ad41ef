"""The supervisor's side of the node agents: who is alive, how far the ranks are, what hangs."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurmkit.launch.rendezvous import master_address
from slurmkit.rundir.layout import ElementDir
from slurmkit.supervise.agent_beacon import Beacon
from slurmkit.supervise.agent_dumps import Dumps
from slurmkit.supervise.agent_events import AgentEvent, AgentLost, AgentUp, Hang
from slurmkit.supervise.agent_liveness import (
    MISSED,
    AwakeClock,
    NodeState,
    Patience,
    overdue,
)
from slurmkit.supervise.agent_messages import event_of
from slurmkit.supervise.agent_place import socket_pattern
from slurmkit.supervise.agent_server import AgentServer, make_room
from slurmkit.supervise.agent_step import AgentStep, command_line
from slurmkit.supervise.agent_verdicts import read_verdicts
from slurmkit.supervise.agent_wire import (
    HEARTBEAT,
    Control,
    Message,
    control_path,
    new_secret,
    write_control,
)
from slurmkit.supervise.hang import HangDetector, settings_of
from slurmkit.supervise.progress import ProgressBoard
from slurmkit.supervise.progress_phases import PhaseBoard

#: Looks per heartbeat: a loss is seen this part of a heartbeat late at most.
_TICKS = 8
_LONGEST_TICK_S = 0.25


@dataclass(frozen=True)
class AgentSettings:
    """How agents are run.

    Attributes:
        hang: auto, off, or seconds.
        preflight: off, quick or full.
        num_gpus: GPUs that each node should have; None when unknown.
        successor: whether agents that lose their supervisor submit a successor of the job.
        patience_s: how long a supervisor may be away before its agents give it up, seconds.
        start_s: how long an agent may take to start, seconds.
        reconnect_s: how long an agent that ended may be away, seconds.
        program: words of the slurmkit program; by default this Python with this package.
        port: where to listen; 0 for any free port.
    """

    hang: str | float = "auto"
    preflight: str = "off"
    num_gpus: int | None = None
    successor: bool = False
    patience_s: float = 30.0
    start_s: float = 60.0
    reconnect_s: float = 30.0
    program: tuple[str, ...] = field(default_factory=lambda: (sys.executable, "-m", "slurmkit"))
    port: int = 0


class Agents:
    """All agents of one incarnation; lives in the event loop's thread.

    Args:
        element: the part of the run that this supervisor owns.
        incarnation: this life of the job.
        heartbeat_s: seconds between heartbeats.
        on_event: is given each event, in the loop's thread; must not block.
        settings: the rest.
    """

    def __init__(
        self,
        element: ElementDir,
        incarnation: str,
        *,
        heartbeat_s: float,
        on_event: Callable[[AgentEvent], None],
        settings: AgentSettings | None = None,
    ) -> None:
        self.settings = settings or AgentSettings()
        self._incarnation = incarnation
        self._heartbeat_s = heartbeat_s
        self._on_event = on_event
        folder = element.path / "control"
        self.control_path = control_path(folder, incarnation)
        self._beacon = Beacon(folder / f"alive-{incarnation}")
        self._secret = new_secret()
        self._server = AgentServer(self._secret, self, time.monotonic)
        self._step = AgentStep(self.settings.program, self.control_path, folder / "agents.log")
        self._clock = AwakeClock(time.monotonic(), _LONGEST_TICK_S * 2)
        self._nodes: dict[str, NodeState] = {}
        self._forgotten: set[str] = set()
        self._board = ProgressBoard()
        self._phases = PhaseBoard()
        self._hang = HangDetector(settings_of(self.settings.hang))
        self._patience = Patience(
            silent_s=MISSED * heartbeat_s,
            quiet_s=(MISSED - 1) * heartbeat_s,
            reconnect_s=self.settings.reconnect_s,
            start_s=self.settings.start_s,
        )
        self._attempt = 0
        self._standing: Message | None = None
        self._dumps = Dumps()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._next_pulse = 0.0
        self._next_progress = 0.0
        # Agents only have to know that we are there: well within half of their patience.
        self._answer_s = max(heartbeat_s, min(3 * heartbeat_s, self.settings.patience_s / 4))
        self._next_answer = 0.0

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and write down where for the agents.

        Raises:
            OSError: no port is free, or the run directory cannot be written.
        """
        self._loop = asyncio.get_running_loop()
        port = self._server.start(self.settings.port, backlog=8192)
        settings = self.settings
        control = Control(
            incarnation=self._incarnation,
            hosts=tuple(dict.fromkeys((master_address(dict(os.environ)), os.uname().nodename))),
            port=port,
            secret=self._secret,
            heartbeat_s=self._heartbeat_s,
            preflight=settings.preflight,
            num_gpus=settings.num_gpus,
            patience_s=settings.patience_s,
            successor=settings.successor,
        )
        write_control(self.control_path, control)
        self._beacon.start()
        self._clock.tick(time.monotonic())
        self._tick()

    async def stop(self) -> None:
        """Tell all agents to end, and clean up."""
        if self._ticking:
            self._ticking.cancel()
        with contextlib.suppress(OSError):
            self.control_path.unlink(missing_ok=True)
        self._server.send(None, {"type": "end"})
        await asyncio.sleep(0)
        self._server.stop()
        self._beacon.stop()
        self._dumps.finish()
        await asyncio.to_thread(self._step.stop)

    def command(self, nodes: Sequence[str]) -> list[str]:
        """Return the srun line that starts agents on these nodes; ``launch`` runs it."""
        return command_line(self.settings.program, nodes, self.control_path)

    def launch(self, nodes: Sequence[str]) -> None:
        """Start agents on these nodes, and keep them there until they are lost or forgotten."""
        self.expect(nodes)
        self._step.want(nodes)
        self._step.tick(time.monotonic(), set(self._server.connected()))

    def expect(self, nodes: Sequence[str]) -> None:
        """Agents on these nodes are on their way; who starts them is up to the caller."""
        make_room(len(self._nodes) + len(nodes))
        for node in nodes:
            self._forgotten.discard(node)
            if node not in self._nodes:
                self._nodes[node] = NodeState(heard=self._clock.time)

    def forget(self, nodes: Sequence[str]) -> None:
        """Give nodes up: no more events of them, and no agents there."""
        for node in nodes:
            self._forgotten.add(node)
            self._nodes.pop(node, None)
            self._board.forget(node)
            self._phases.leave(node)
            self._step.unwant(node)
            self._server.send([node], {"type": "end"})
            self._server.drop(node)

    def hosts_up(self) -> list[str]:
        """Return the nodes that are up: connected, preflight done, not lost."""
        return [
            host
            for host, node in self._nodes.items()
            if node.connected and node.was_up and not node.lost
        ]

    def abdicate(self, away: bool) -> None:
        """Look dead to agents that cannot hear us, or alive again: we can do nothing for them."""
        self._beacon.paused = away

    @property
    def stalled_s(self) -> float:
        """Seconds so far in which this supervisor was kept from running."""
        return self._clock.stalled_s

    # -- attempts -----------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Return the variables that tasks need to find their agent; %n is the node's name."""
        job_id = os.environ.get("SLURM_JOB_ID", "local")
        return {"SLURMKIT_AGENT_SOCKET": socket_pattern(os.getuid(), job_id)}

    def begin_attempt(self, number: int, hosts: Sequence[str] = ()) -> None:
        """An attempt is about to be launched: progress starts anew.

        Args:
            number: the attempt.
            hosts: its nodes; only for the record, as ranks tell where they are.
        """
        self._attempt = number
        self._standing = None
        self._board.clear()
        self._phases.clear()
        self._hang.begin(self._clock.time)
        self._server.send(hosts or None, {"type": "attempt", "attempt": number})

    def end_attempt(self) -> None:
        """The step is over: nothing can hang."""
        self._hang.end()

    def output_seen(self) -> None:
        """Ranks have written something: a sign of life where they report no steps."""
        self._hang.output(self._clock.time)

    def tell(self, hosts: Sequence[str] | None, message: Mapping[str, Any]) -> None:
        """Send ``stop`` or ``save`` to every rank with a Session on these nodes, or on all.

        A stop stands until the next attempt: ranks that come later get it, too.
        """
        if message.get("type") == "stop" and hosts is None:
            self._standing = dict(message)
        self._server.send(hosts, dict(message))

    async def dump_stacks(self, folder: Path, timeout_s: float) -> list[Path]:
        """Let every agent save the stacks of its ranks; return the files that are there then.

        Args:
            folder: where to, such as ``logs/attempt-2/stacks``; made when it is missing.
            timeout_s: how long to wait; what comes later is still written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        hosts = self._server.connected()
        number = self._dumps.begin(hosts)
        message = {"type": "dump", "id": number, "folder": str(folder), "timeout_s": timeout_s}
        self._server.send(hosts, message)
        await self._dumps.complete(number, timeout_s)
        return sorted(path for path in folder.iterdir() if path.name.startswith("rank-"))

    # -- what the server calls ----------------------------------------------------------------

    def admit(self, host: str, hello: Message) -> Message | None:
        """An agent has proved itself: take it in, unless its node was given up."""
        if host in self._forgotten:
            return None
        node = self._nodes.setdefault(host, NodeState(heard=self._clock.time))
        node.connected = True
        node.heard = node.beat = self._clock.time
        welcome: Message = {"attempt": self._attempt, "time": time.time()}
        welcome["preflight"] = not node.was_up or not hello.get("again")
        if self._standing is not None:
            welcome["standing"] = self._standing
        return welcome

    def message(self, host: str, message: Message) -> None:
        """An agent says this."""
        kind = message.get("type")
        node = self._nodes.get(host)
        if node is None:
            return
        if kind == "up":
            returned, first = node.lost, not node.was_up
            node.lost, node.was_up = False, True
            if returned or first:
                verdicts = read_verdicts(message.get("verdicts"))
                self._on_event(AgentUp(host, verdicts, returned=returned))
        elif kind == "dumped":
            self._dumps.answered(host, message.get("id", 0))
        elif message.get("attempt") not in (None, self._attempt):
            return  # what a rank of an earlier attempt said last
        elif kind == "steps":
            self._board.report(host, message)
            self._next_progress = min(self._next_progress, self._clock.time + 0.05)
        else:
            self._rank_event(host, message)

    def _rank_event(self, host: str, message: Message) -> None:
        now = self._clock.time
        kind = message.get("type")
        if kind == "session":
            self._phases.join(host)
            self._hang.session(now)
        elif kind == "phase" and self._phases.enter(host, str(message.get("phase"))):
            self._hang.phase(now, self._phases.phase)
        event = event_of(host, message)
        if event is not None:
            self._on_event(event)

    def closed(self, host: str) -> None:
        """An agent ended; its node need not have."""
        self._disconnected(host)
        self._step.agent_ended(host)

    def broken(self, host: str) -> None:
        """A connection failed without a word: that is how dead nodes look, but also resets."""
        self._disconnected(host)

    def _disconnected(self, host: str) -> None:
        node = self._nodes.get(host)
        if node is not None:
            node.connected = False
        self._dumps.lost(host)

    # -- time ---------------------------------------------------------------------------------

    def _tick(self) -> None:
        assert self._loop is not None
        pause_s = min(_LONGEST_TICK_S, self._heartbeat_s / _TICKS)
        self._ticking = self._loop.call_later(pause_s, self._tick)
        # First hear what has come while we slept, then judge.
        self._server.look()
        now = self._clock.tick(time.monotonic())
        self._note_heard(now)
        self._judge(now)
        self._report_progress(now)
        found = self._hang.check(now)
        if found is not None:
            ranks = self._board.behind()
            self._on_event(Hang(found.silent_s, found.limit_s, ranks, found.what))
        if now >= self._next_pulse:
            self._next_pulse = now + self._heartbeat_s
            if now >= self._next_answer:
                self._next_answer = now + self._answer_s
                self._server.send_line(self._server.connected(), HEARTBEAT)
            self._server.expire()
            self._step.tick(time.monotonic(), set(self._server.connected()))

    def _note_heard(self, now: float) -> None:
        beats = self._server.take_beats()
        for host in beats:
            if host in self._nodes:
                self._nodes[host].heard = self._nodes[host].beat = now
        for host in self._server.take_words() - beats:
            if host in self._nodes:
                self._nodes[host].heard = now

    def _judge(self, now: float) -> None:
        oldest = now - self._patience.quiet_s
        anybody: bool | None = None
        for host, node in list(self._nodes.items()):
            if node.heard > oldest or node.lost:
                continue
            if anybody is None:
                anybody = any(other.connected for other in self._nodes.values())
            late = overdue(node, now, self._patience, anybody=anybody)
            if late is None:
                continue
            silent_s, why = late
            node.lost, node.connected = True, False
            self._server.drop(host)
            self._board.forget(host)
            self._phases.leave(host)
            self._step.unwant(host)
            self._dumps.lost(host)
            self._on_event(AgentLost(host, round(silent_s, 3), why))

    def _report_progress(self, now: float) -> None:
        if now < self._next_progress:
            return
        progress = self._board.take()
        if progress is None:
            return
        self._next_progress = now + max(0.1, 0.25 * self._heartbeat_s)
        self._hang.progressed(now, progress.step)
        self._on_event(progress)
