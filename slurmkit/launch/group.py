"""A group of processes on this machine that is watched together and ends together."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.launch.processes import spawn

_READ_BYTES = 1 << 18
_TURN_S = 0.5
# Without pidfds (not Linux) the ends of processes are looked for this often.
_TURN_WITHOUT_PIDFD_S = 0.05


@dataclass(eq=False)
class Member:
    """One process, the leader of a session of its own.

    Attributes:
        rank: whose process it is; None for a launcher that has several ranks.
        process: the process, its output in one pipe.
        pidfd: becomes readable when the process ends; None where there is no such thing.
    """

    rank: int | None
    process: "subprocess.Popen[bytes]"
    pidfd: int | None

    @property
    def output(self) -> int:
        """The reading end of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()


class Group:
    """Processes that end together.

    Args:
        grace_s: how long they may take to end after TERM before they are killed, seconds.
    """

    def __init__(self, grace_s: float) -> None:
        self.members: list[Member] = []
        self._grace_s = grace_s
        self._kill_at: float | None = None
        self._poll = select.poll()

    def start(
        self, rank: int | None, command: Sequence[str], env: Mapping[str, str], workdir: Path
    ) -> None:
        """Start one more process.

        Raises:
            NotStartedError: there is no such program, or it cannot be executed.
        """
        process = spawn(command, env, workdir=workdir)
        member = Member(rank, process, _open_pidfd(process.pid))
        os.set_blocking(member.output, False)
        self.members.append(member)
        for descriptor in (member.output, member.pidfd):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)

    def wait(self, on_output: Callable[[Member, bytes], None]) -> list[tuple[Member, int]]:
        """Wait for something to happen, half a second at most; return who has ended, in order.

        Args:
            on_output: is given what processes write; all that one wrote before its end is returned.

        Returns:
            Members and subprocess's return codes. They have left ``members`` and nothing of their
            process group lives any more.
        """
        pidfds = all(member.pidfd is not None for member in self.members)
        turn_s = _TURN_S if pidfds else _TURN_WITHOUT_PIDFD_S
        ready = {descriptor for descriptor, _ in self._poll.poll(turn_s * 1000)}
        for member in self.members:
            if member.output in ready:
                self._read(member, on_output)
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            self._signal(signal.SIGKILL)
        ended = [member for member in self.members if _has_ended(member)]
        return [(member, self._bury(member, on_output)) for member in ended]

    def end(self) -> None:
        """Ask all to end; those that have not after the grace are killed."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._grace_s
            self._signal(signal.SIGTERM)

    def hurry(self) -> None:
        """Kill all in the next turn."""
        self._kill_at = 0.0

    def kill(self) -> None:
        """Kill all that still live and wait for their ends."""
        self._signal(signal.SIGKILL)
        for member in list(self.members):
            self._bury(member, lambda _member, _chunk: None)

    def _signal(self, number: signal.Signals) -> None:
        for member in self.members:
            _kill_group(member, number)

    def _read(self, member: Member, on_output: Callable[[Member, bytes], None]) -> bool:
        """Read once; return whether there may be more."""
        try:
            chunk = os.read(member.output, _READ_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            with contextlib.suppress(KeyError):  # it ended, and was unregistered, before
                self._poll.unregister(member.output)
            return False
        on_output(member, chunk)
        return True

    def _bury(self, member: Member, on_output: Callable[[Member, bytes], None]) -> int:
        # While it is not reaped its group's number cannot belong to anybody else.
        _kill_group(member, signal.SIGKILL)
        returncode = member.process.wait()
        while self._read(member, on_output):
            pass
        with contextlib.suppress(KeyError):
            self._poll.unregister(member.output)
        if member.pidfd is not None:
            self._poll.unregister(member.pidfd)
            os.close(member.pidfd)
        assert member.process.stdout is not None
        member.process.stdout.close()
        self.members.remove(member)
        return returncode


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or a kernel before 5.3
        return None


def _has_ended(member: Member) -> bool:
    """Whether the process has ended; it stays a zombie, so that its number stays its own."""
    if not hasattr(os, "waitid"):  # macOS
        return member.process.poll() is not None
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, member.process.pid, flags) is not None


def _kill_group(member: Member, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for zombies
        os.killpg(member.process.pid, number)
