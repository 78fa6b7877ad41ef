"""The ranks of one node: what they say over the agent's socket, and whether they are alive.

A rank's word is taken for its own: who it is, the kernel tells (SO_PEERCRED), and its death, too
(pidfd). Packets with steps are only stored as they come and read once per heartbeat.
"""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slurmkit.errors import SlurmkitError
from slurmkit.supervise.agent_place import listened_to, private_folder, sweep
from slurmkit.supervise.agent_wire import Message
from slurmkit.supervise.progress_phases import PhaseBoard

MAX_PACKET_BYTES = 1 << 15
_MAX_PACKETS_AT_ONCE = 64
_MAX_CONNECTIONS = 4096
_PASSED_ON = frozenset(
    {"session", "phase", "committed", "save_failed", "quarantined", "ending", "task"}
)
_CREDENTIALS = struct.Struct("3i")


class AnotherAgentError(SlurmkitError):
    """An agent of the same job is on this node already, and lives."""


@dataclass
class Process:
    """One rank's process, or that of a launcher per node.

    Attributes:
        pid: its id.
        rank: which; None for a launcher.
        attempt: of which attempt; None when nothing tells.
        pidfd: becomes readable when it ends; -1 where the kernel has none.
        dump_signal: what makes it write its Python stacks; empty for none.
        dump_path: where to.
    """

    pid: int
    rank: int | None
    attempt: int | None
    pidfd: int = -1
    dump_signal: str = ""
    dump_path: str = ""


@dataclass
class Connection:
    """One open connection of a rank."""

    sock: socket.socket
    pid: int
    rank: int | None = None
    attempt: int | None = None
    last_step: bytes = b""
    spoke: bool = False


@dataclass
class _Steps:
    step: int
    epoch: int | None = None
    loss: float | None = None


@dataclass
class RankServer:
    """Listens for the ranks of this node.

    Attributes:
        path: the socket.
        tell: is given each message for the supervisor.
        watch: begins to poll a descriptor; ``unwatch`` ends it.
    """

    path: Path
    tell: Callable[[Message], None]
    watch: Callable[[int, Callable[[], None]], None]
    unwatch: Callable[[int], None]
    standing: Message | None = None
    attempt: int | None = None
    _connections: dict[int, Connection] = field(default_factory=dict)
    _processes: dict[int, Process] = field(default_factory=dict)
    _steps: dict[int, _Steps] = field(default_factory=dict)
    _phases: PhaseBoard = field(default_factory=PhaseBoard)
    _said_phase: str = ""
    fresh: bool = False

    def open(self) -> None:
        """Begin to listen, in the place of an agent that was here before.

        Raises:
            SlurmkitError: the folder is not our own.
            AnotherAgentError: the place is taken.
            OSError: the socket cannot be made.
        """
        private_folder(self.path.parent)
        if listened_to(self.path):
            raise AnotherAgentError(f"another agent listens on {self.path}")
        sweep(self.path.parent, keep=self.path.name)
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._door = socket.socket(socket.AF_UNIX, kind)
        # Short: the limit of a socket's path is 107 bytes.
        temporary = self.path.with_name(f".{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        self._door.bind(str(temporary))
        self._door.listen(1024)
        temporary.replace(self.path)
        self.watch(self._door.fileno(), self._accept)
        self._remember_known()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        with contextlib.suppress(OSError):
            self.path.unlink()
            self._tasks_path.unlink(missing_ok=True)
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._door.close()

    def descriptors(self) -> list[int]:
        """Return all descriptors, for a child process to close."""
        return [self._door.fileno(), *self._connections, *(p.pidfd for p in self._living())]

    def processes(self) -> list[Process]:
        """Return the ranks' processes of the newest attempt here."""
        return [p for p in self._processes.values() if p.attempt in (None, self.attempt)]

    def begin_attempt(self, number: int) -> None:
        """The supervisor is about to launch an attempt."""
        if number != self.attempt:
            self.attempt = number
            self.standing = None
            self._steps.clear()
            self._phases.clear()
            self._said_phase = ""

    def pass_to_ranks(self, message: Message) -> None:
        """Send a message to every rank that has a Session here."""
        if message.get("type") == "stop":
            self.standing = message
        packet = json.dumps(message, separators=(",", ":")).encode()
        for connection in self._connections.values():
            if connection.rank is not None:
                with contextlib.suppress(OSError):
                    connection.sock.send(packet)

    def steps(self) -> Message | None:
        """Return how far the ranks here are, if that has changed since this was last called."""
        if not self.fresh:
            return None
        self.fresh = False
        for connection in self._connections.values():
            if connection.last_step:
                self._read_step(connection)
        if not self._steps:
            return None
        low = min(self._steps, key=lambda rank: self._steps[rank].step)
        high = max(self._steps, key=lambda rank: self._steps[rank].step)
        message: Message = {
            "type": "steps",
            "attempt": self.attempt,
            "low": self._steps[low].step,
            "low_rank": low,
            "high": self._steps[high].step,
            "high_rank": high,
            "num_ranks": len(self._steps),
            "epoch": self._steps[low].epoch,
        }
        if self._steps[low].loss is not None:
            message["loss"] = self._steps[low].loss
        return message

    def check_living(self) -> None:
        """Look for ended processes where the kernel does not tell by itself."""
        for process in self._living():
            if process.pidfd < 0 and not _alive(process.pid):
                self._gone(process)

    # -- packets ------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(_MAX_PACKETS_AT_ONCE):
            try:
                sock, _address = self._door.accept()
            except OSError:
                return
            sock.setblocking(False)
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _gid = _CREDENTIALS.unpack(credentials)
            if uid != os.getuid() or len(self._connections) >= _MAX_CONNECTIONS:
                sock.close()
                continue
            connection = Connection(sock, pid)
            self._connections[sock.fileno()] = connection
            self.watch(sock.fileno(), lambda c=connection: self._read(c))  # type: ignore[misc]
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        for _ in range(_MAX_PACKETS_AT_ONCE):
            try:
                packet = connection.sock.recv(MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._drop(connection)
                return
            if b'"step"' in packet[:24] and connection.spoke:
                connection.last_step = packet
                self.fresh = True
            else:
                self._take(connection, packet)

    def _drop(self, connection: Connection) -> None:
        if self._connections.pop(connection.sock.fileno(), None) is None:
            return
        if connection.last_step:
            self._read_step(connection)
        self.unwatch(connection.sock.fileno())
        connection.sock.close()

    def _take(self, connection: Connection, packet: bytes) -> None:
        try:
            message = json.loads(packet)
            kind = message["type"]
            rank = message.get("rank")
            rank = int(rank) if rank is not None else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # not one of ours
        process = self._process(connection, rank, message)
        connection.attempt = process.attempt
        connection.rank = rank if kind != "task" else connection.rank
        connection.spoke = kind != "task"
        if kind == "step":
            connection.last_step = packet
            self.fresh = True
        if kind == "session":
            process.dump_signal = str(message.get("dump") or "")
            process.dump_path = str(message.get("dump_path") or "")
            if self.standing is not None:
                with contextlib.suppress(OSError):
                    connection.sock.send(json.dumps(self.standing).encode())
            self._phases.join(rank)
        if kind == "phase" and not self._new_phase(rank, message):
            return
        if kind in _PASSED_ON:
            self.tell({**message, "pid": connection.pid, "attempt": process.attempt})

    def _process(self, connection: Connection, rank: int | None, message: Message) -> Process:
        """Return the process behind a connection; from its first packet on its life is watched."""
        attempt = message.get("attempt")
        process = self._processes.get(connection.pid)
        if process is None:
            if attempt is None:
                attempt = _attempt_of(connection.pid)
            process = Process(connection.pid, rank, None if attempt is None else int(attempt))
            self._add(process)
            if message.get("type") == "task":
                self._write_down(process)
        elif isinstance(attempt, int):
            process.attempt = attempt
        if process.rank is None:
            process.rank = rank
        if process.attempt is not None and process.attempt > (self.attempt or 0):
            self.begin_attempt(process.attempt)
        return process

    def _new_phase(self, rank: int | None, message: Message) -> bool:
        """Whether the ranks here together do something else now; the message then says what."""
        self._phases.enter(rank, str(message.get("phase")))
        if self._phases.phase == self._said_phase:
            return False
        message["phase"] = self._said_phase = self._phases.phase
        return True

    def _read_step(self, connection: Connection) -> None:
        packet, connection.last_step = connection.last_step, b""
        if connection.attempt not in (None, self.attempt):
            return
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            message = json.loads(packet)
            epoch, loss = message.get("epoch"), message.get("loss")
            self._steps[int(message["rank"])] = _Steps(
                int(message["step"]),
                int(epoch) if epoch is not None else None,
                float(loss) if loss is not None else None,
            )

    # -- life and death -----------------------------------------------------------------------

    def _living(self) -> list[Process]:
        return list(self._processes.values())

    def _add(self, process: Process) -> None:
        self._processes[process.pid] = process
        try:
            process.pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self._gone(process)
            return
        except (OSError, AttributeError):  # a kernel before 5.3
            return
        self.watch(process.pidfd, lambda: self._gone(process))

    def _gone(self, process: Process) -> None:
        if self._processes.pop(process.pid, None) is None:
            return
        self._phases.leave(process.rank)
        if process.pidfd >= 0:
            self.unwatch(process.pidfd)
            os.close(process.pidfd)
        for connection in list(self._connections.values()):
            if connection.pid == process.pid:
                self._read(connection)  # its last words first
        self.tell(
            {
                "type": "gone",
                "rank": process.rank,
                "pid": process.pid,
                "attempt": process.attempt,
            }
        )

    # -- an agent that comes after another ----------------------------------------------------

    @property
    def _tasks_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.tasks")

    def _write_down(self, process: Process) -> None:
        """Note a task for the agent that takes our place, should we end: it says hello once."""
        line = f"{process.pid} {process.rank} {process.attempt} {_started(process.pid)}\n"
        with contextlib.suppress(OSError), self._tasks_path.open("a", encoding="ascii") as file:
            file.write(line)

    def _remember_known(self) -> None:
        for pid, rank, attempt, started in _noted(self._tasks_path):
            if started and _started(pid) == started:
                self._add(Process(pid, rank, attempt))
                self.attempt = max(self.attempt or 0, attempt or 0)


def _noted(path: Path) -> Iterator[tuple[int, int | None, int | None, str]]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines[-_MAX_CONNECTIONS:]:
        words = line.split()
        if len(words) == 4 and words[0].isdigit():
            rank, attempt = (int(word) if word.isdigit() else None for word in words[1:3])
            yield int(words[0]), rank, attempt, words[3]


def _attempt_of(pid: int) -> int | None:
    """Return the attempt that a process was started in, by its own environment."""
    with contextlib.suppress(OSError):
        data = Path(f"/proc/{pid}/environ").read_bytes()
        for entry in data.split(b"\0"):
            if entry.startswith(b"SLURMKIT_ATTEMPT=") and entry[17:].isdigit():
                return int(entry[17:])
    return None


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks: with the pid it names one process."""
    with contextlib.suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()[19]
    return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
