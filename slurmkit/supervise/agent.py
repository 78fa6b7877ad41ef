"""``slurmkit agent``: one per node; hears its ranks, beats to the supervisor, notices deaths."""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.supervise import agent_orphan as orphan
from slurmkit.supervise.agent_child import Child, reap
from slurmkit.supervise.agent_health import NodeHealth
from slurmkit.supervise.agent_link import UP, Link
from slurmkit.supervise.agent_place import socket_path
from slurmkit.supervise.agent_ranks import AnotherAgentError, RankServer
from slurmkit.supervise.agent_wire import Control, Message, read_control

USAGE = """\
Usage: slurmkit agent CONTROL_FILE

Watch this node for a running supervisor: its ranks, their progress and its health. The supervisor
starts one on each node of a job; nobody else has to.
"""

_IGNORED = (signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2)
_NICE = -10
_WAIT_FOR_PLACE_S = 3.0
_LEFT_ALONE_S = 2.0  # without an answer for this long, it looks at the shared folder
_SUBMIT_WITHIN_S = 120.0
_PREFLIGHT_WITHIN_S = {"quick": 10.0, "full": 300.0}


def main(args: list[str]) -> int:
    """Run the agent until its supervisor ends; return the exit code.

    Args:
        args: the command line behind ``agent``.

    Raises:
        SlurmkitError: the command line or the control file is wrong.
    """
    if not args or args[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    if len(args) != 1 or args[0].startswith("-"):
        raise UsageError("slurmkit agent needs one control file", hint=USAGE.partition("\n")[0])
    path = Path(args[0]).absolute()
    host = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
    try:
        control = read_control(path)
    except FileNotFoundError:
        return 0  # the supervisor has ended meanwhile
    except OSError as error:
        raise SlurmkitError(f"{host}: cannot read {path}: {error.strerror}") from error
    socket = socket_path(os.getuid(), os.environ.get("SLURM_JOB_ID", "local"), host)
    with contextlib.suppress(OSError):  # where we may: ranks that use every core must not delay us
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    with contextlib.suppress(OSError):
        os.chdir("/")  # a folder that is not there any more must not be in the way
    return Agent(path, control, host, socket).run()


class Agent:
    """The agent of one node: one thread, one poll.

    Args:
        path: the control file.
        control: what it says.
        host: this node.
        socket: where ranks find us.
    """

    def __init__(self, path: Path, control: Control, host: str, socket: Path) -> None:
        now = time.monotonic()
        self._path = path
        self._control = control
        self._host = host
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._children: dict[int, Child] = {}
        self._link = Link(control, host, self, now)
        self._link_registered = (-1, 0)
        self._ranks = RankServer(socket, self._send, self._watch, self._unwatch)
        self._orphan = orphan.Orphan(control, now)
        self._health = NodeHealth()
        self._next_beat = now
        self._last_sent = 0.0
        self._verdicts: list[dict[str, Any]] | None = None
        self._skew_s = 0.0
        self._terminated = False
        self._ended = False
        self._dismissed = False  # by the supervisor, which is done with this job
        self._succeeding = False

    def run(self) -> int:
        """Serve until there is nothing left to do."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_term)
        self._watch(reading, lambda: _empty(reading))
        try:
            self._open_when_free()
        except AnotherAgentError:
            return 0
        except OSError as error:
            raise SlurmkitError(
                f"{self._host}: no socket for ranks in {self._ranks.path.parent}: {error.strerror}"
            ) from error
        try:
            if self._control.preflight != "off":
                self._start_preflight()
            else:
                self._verdicts = []
            while not self._ended:
                self._turn()
        finally:
            self._link.close()
            self._ranks.close()
        if self._dismissed:
            from slurmkit.supervise.tidying import age_s, tidy_node  # noqa: PLC0415 (at the end)

            tidy_node(os.environ.get("SLURM_JOB_ID", ""), self._control.incarnation, age_s())
        return 0

    def _open_when_free(self) -> None:
        """Take the place of an agent that is about to end; beside one that stays, be none."""
        deadline = time.monotonic() + _WAIT_FOR_PLACE_S
        while True:
            try:
                self._ranks.open()
            except AnotherAgentError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def _turn(self) -> None:
        """Wait for something, and do what there is to do."""
        now = time.monotonic()
        self._link.tick(now)
        self._register_link()
        pause_s = min(self._next_beat - now, self._link.next_s(now))
        for descriptor, _what in self._poll.poll(max(0.0, pause_s) * 1000 + 0.5):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler()
            elif descriptor == self._link_registered[0]:
                self._link.ready(time.monotonic())
                self._register_link()
        now = time.monotonic()
        if self._ranks.fresh and now - self._last_sent >= self._control.heartbeat_s:
            self._send_steps(now)
        if now >= self._next_beat:
            self._beat(now)

    def _beat(self, now: float) -> None:
        self._next_beat = max(self._next_beat + self._control.heartbeat_s, now)
        if not self._send_steps(now, beat=True):
            self._link.beat()
        self._ranks.check_living()
        for child in list(self._children.values()):
            if child.deadline <= now:
                self._unwatch(child.descriptor)
                del self._children[child.descriptor]
                child.expire()
        if self._children:
            reap()
        if why := self._health.news():
            self._link.send({"type": "unfit", "why": why})
        self._look_after_supervisor(now)

    def _send_steps(self, now: float, *, beat: bool = False) -> bool:
        message = self._ranks.steps()
        if message is None:
            return False
        self._last_sent = now
        self._link.send(message, keep=False, beat=beat)
        return self._link.state == UP

    def _send(self, message: Message) -> None:
        """Pass on what a rank said; what steps came before it goes first."""
        if self._ranks.fresh:
            self._send_steps(time.monotonic())
        self._link.send(message)

    # -- the supervisor -----------------------------------------------------------------------

    def welcomed(self, welcome: Message) -> None:
        """The supervisor knows us."""
        self._ranks.begin_attempt(int(welcome.get("attempt") or 0))
        if welcome.get("standing"):
            self._ranks.pass_to_ranks(welcome["standing"])
        if isinstance(welcome.get("time"), (int, float)):
            self._skew_s = time.time() - float(welcome["time"])
        self._say_up()

    def told(self, message: Message) -> None:
        """The supervisor wants something."""
        kind = message.get("type")
        if kind == "end":
            self._ended = self._dismissed = True
        elif kind == "attempt":
            self._ranks.begin_attempt(int(message.get("attempt") or 0))
        elif kind == "dump":
            self._dump(message)
        else:
            self._ranks.pass_to_ranks(message)

    def _say_up(self) -> None:
        if self._verdicts is None or self._link.state != UP:
            return
        verdicts = list(self._verdicts)
        if self._control.preflight != "off":
            from slurmkit.health.checks.clock_skew import judge_skew  # noqa: PLC0415

            skew = judge_skew(self._skew_s).fields()
            verdicts = [item for item in verdicts if item["check"] != skew["check"]] + [skew]
        self._link.send({"type": "up", "verdicts": verdicts}, keep=False)

    def _look_after_supervisor(self, now: float) -> None:
        """End, or succeed it, when it has gone for good."""
        silent_s = now - self._link.heard
        if self._link.state == UP and silent_s < self._control.patience_s / 2:
            return
        if self._terminated and self._link.state != UP:
            self._ended = True
            return
        if self._link.state == UP and silent_s > self._control.patience_s / 2:
            self._link.fail(now)  # does its host still take a connection?
        if silent_s < _LEFT_ALONE_S or not self._orphan.due(now) or self._succeeding:
            return
        signs = orphan.look(self._path, self._control.incarnation)
        # A process that is stopped still has its connections taken, by the kernel.
        stopped = now - self._link.accepted < silent_s
        decision = self._orphan.judge(
            now, silent_s, signs, terminated=self._terminated, stopped=stopped
        )
        if decision == orphan.SUCCEED and orphan.claim(
            self._path, self._control.incarnation, self._host
        ):
            self._succeeding = True
            self._start(self._succeed, self._succeeded, _SUBMIT_WITHIN_S)
        elif decision != orphan.STAY:
            self._ended = True

    def _succeed(self) -> str:
        return orphan.submit_successor(self._path, self._control.incarnation, self._host)

    def _succeeded(self, _answer: object) -> None:
        self._ended = True

    def _on_term(self, _number: int, _frame: object) -> None:
        """Slurm ends the step or the job: stay while the supervisor needs us for a last save."""
        self._terminated = True
        if self._link.state != UP:
            self._ended = True

    # -- work in children ---------------------------------------------------------------------

    def _start_preflight(self) -> None:
        level, num_gpus = self._control.preflight, self._control.num_gpus
        folder = self._path.parent
        slack_s = 1.0

        def work() -> list[dict[str, Any]]:
            from slurmkit.health.run import preflight  # noqa: PLC0415 (in the child alone)

            within_s = _PREFLIGHT_WITHIN_S.get(level, 10.0) - slack_s
            found = preflight(level, folder=folder, num_gpus=num_gpus, within_s=within_s)
            return [verdict.fields() for verdict in found]

        self._start(work, self._preflight_done, _PREFLIGHT_WITHIN_S.get(level, 10.0))

    def _preflight_done(self, answer: object) -> None:
        if isinstance(answer, list):
            self._verdicts = answer
        else:
            from slurmkit.health.verdict import FAIL, REFUSE, Verdict  # noqa: PLC0415

            said = Verdict("preflight", FAIL, "its checks did not end in time", REFUSE)
            self._verdicts = [said.fields()]
        self._say_up()

    def _dump(self, message: Message) -> None:
        folder, timeout_s = Path(str(message["folder"])), float(message["timeout_s"])
        processes = self._ranks.processes()
        host = self._host

        def work() -> list[str]:
            from slurmkit.supervise.agent_stacks import Target, dump_all  # noqa: PLC0415

            targets = [Target(p.rank, p.pid, p.dump_signal, p.dump_path) for p in processes]
            return dump_all(targets, folder, host, timeout_s)

        def done(answer: object) -> None:
            files = answer if isinstance(answer, list) else []
            self._link.send({"type": "dumped", "id": message.get("id"), "files": files})

        self._start(work, done, timeout_s + 1.0)

    def _start(
        self, work: Callable[[], Any], on_done: Callable[[Any], None], within_s: float
    ) -> None:
        ours = [*self._handlers, self._link_registered[0]]
        child = Child(work, on_done, time.monotonic() + within_s, (fd for fd in ours if fd > 2))
        self._children[child.descriptor] = child

        def ready() -> None:
            if child.ready():
                self._unwatch(child.descriptor)
                self._children.pop(child.descriptor, None)
                reap()

        self._watch(child.descriptor, ready)

    # -- poll ---------------------------------------------------------------------------------

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.POLLIN)

    def _unwatch(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _register_link(self) -> None:
        """Poll the link's socket, whichever it is now, for what it wants now."""
        sock = self._link.sock
        wanted = (-1, 0) if sock is None else (sock.fileno(), self._link.wants)
        if wanted == self._link_registered:
            return
        if self._link_registered[0] != wanted[0] and self._link_registered[0] >= 0:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self._link_registered[0])
        if wanted[0] >= 0:
            self._poll.register(*wanted)
        self._link_registered = wanted


def _empty(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass
