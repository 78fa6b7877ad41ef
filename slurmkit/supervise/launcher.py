"""The launcher's process under asyncio: started, watched, and its output read by a thread.

Output goes to files on a shared file system that may be slow. A thread reads and writes it, so that
the event loop, which hears the nodes' signs of life, never waits for a disk.
"""

import asyncio
import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from slurmkit.launch.processes import spawn

_READ_BYTES = 1 << 20
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; in the fcntl module from Python 3.10 on Linux alone
_IDLE_S = 0.5
# How long to wait for what outlives the launcher with its output open, such as a daemon.
_DRAIN_S = 2.0
_POLL_S = 0.05
#: Sent to the launcher by the kernel if the supervisor is killed: srun then ends its step.
PARENT_DEATH_SIGNAL = signal.SIGTERM


class Reader(Protocol):
    """Who takes the output; called in the reading thread alone."""

    def output(self, chunk: bytes) -> None:
        """The launcher wrote this."""

    def idle(self) -> None:
        """Nothing has come for half a second, or nothing will come any more."""


class Launcher:
    """One launcher that runs.

    Args:
        command: the program and its arguments.
        env: its environment.
        reader: takes its output.

    Raises:
        NotStartedError: there is no such program, or it cannot be executed.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], reader: Reader) -> None:
        # In the main thread: the kernel's word of a parent's death means the thread that forked.
        self._process = spawn(command, env, parent_death_signal=PARENT_DEATH_SIGNAL)
        self._reader = reader
        self._drain_until: float | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._read, name="slurmkit-output", daemon=True)
        self._thread.start()

    async def wait(self) -> int:
        """Return subprocess's return code once it has ended; its output may still come."""
        if not await _ended(self._process.pid):
            while self._process.poll() is None:
                await asyncio.sleep(_POLL_S)
        return self._process.wait()

    async def drained(self) -> None:
        """Return when all that it wrote before its end has been taken, or waits in vain."""
        self._drain_until = time.monotonic() + _DRAIN_S
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"!")
        await asyncio.to_thread(self._thread.join)

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send it, and it alone, a signal."""
        if self.alive():
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        _widen(output)
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while self._drain_until is None or time.monotonic() < self._drain_until:
            ready = dict(poll.poll(_IDLE_S * 1000))
            if self._wake_read in ready:
                os.read(self._wake_read, 64)
            if output in ready:
                chunk = os.read(output, _READ_BYTES)
                if not chunk:
                    break
                self._reader.output(chunk)
            elif not ready:
                self._reader.idle()
        self._reader.idle()
        self._process.stdout.close()


async def _ended(pid: int) -> bool:
    """Wait for a process's end by its pidfd; False where there is no such thing."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or a kernel before 5.3
        return False
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_reader(descriptor, done.set)
    try:
        await done.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return True


def _widen(pipe: int) -> None:
    """Make the pipe larger, so that bursts need fewer turns; a user's quota may refuse it."""
    import fcntl  # noqa: PLC0415

    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
