"""Run the launcher: pass its output on as it comes, relay signals, and end it when asked to."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol, final

#: Signals that are passed on to the launcher, and to it alone.
RELAYED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
_ENDING = (signal.SIGTERM, signal.SIGINT)
#: Slurm sends KILL KillWait seconds (by default 30) after TERM; the ledger must be written before.
KILL_AFTER_S = 20.0
_READ_BYTES = 1 << 20
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; in the fcntl module from Python 3.10 on Linux alone
#: Sent to the launcher by the kernel if the supervisor is killed: srun then ends its step.
PARENT_DEATH_SIGNAL = signal.SIGTERM
_IDLE_S = 0.5
# How long to wait for what outlives the launcher with its output open, such as a daemon.
_DRAIN_S = 2.0


class Listener(Protocol):
    """Who is told what happens."""

    def output(self, chunk: bytes) -> None:
        """The launcher wrote this."""

    def idle(self) -> None:
        """Nothing has come for half a second, or nothing will come any more."""

    def ending(self, number: signal.Signals) -> None:
        """The first signal that ends the job has come, and was passed on."""

    def tick(self) -> None:
        """Some time has passed: called at least every half second."""


@final
class Watch:
    """One launcher under watch; inside ``with``, signals are relayed to it.

    Args:
        listener: who is told what happens.
        kill_after_s: how long the launcher may take to end after TERM, seconds.
    """

    def __init__(self, listener: Listener, kill_after_s: float = KILL_AFTER_S) -> None:
        self.ended_by: signal.Signals | None = None
        self._listener = listener
        self._told_ending = False
        self._process: subprocess.Popen[bytes] | None = None
        self._kill_after_s = kill_after_s
        self._kill_at: float | None = None

    def __enter__(self) -> "Watch":
        """Take over the signals; before the start, so that none finds the default handler."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._previous_fd = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._relay) for number in RELAYED}
        # A handler of any kind makes Python write to the wake-up pipe when a child ends.
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _nothing)
        return self

    def __exit__(self, *_error: object) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def run(self, start: Callable[[], "subprocess.Popen[bytes]"]) -> int:
        """Start the launcher and return subprocess's return code once it and its output have ended.

        Args:
            start: starts it, with its output in one pipe.
        """
        self._process = process = start()
        if self.ended_by:
            process.send_signal(self.ended_by)
        self._loop(process, self._wake_read)
        self._wait_for_end(process)
        self._listener.idle()
        return process.returncode

    def end(self) -> None:
        """Ask the launcher to end, and kill it if it does not."""
        self._relay(signal.SIGTERM, None)

    def _loop(self, process: "subprocess.Popen[bytes]", wake: int) -> None:
        """Pass the output on until it ends."""
        assert process.stdout is not None
        output = process.stdout.fileno()
        _widen(output)
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(wake, select.POLLIN)
        drain_until: float | None = None
        while True:
            ready = dict(poll.poll(_IDLE_S * 1000))
            if wake in ready:
                _empty(wake)
            if output in ready:
                chunk = os.read(output, _READ_BYTES)
                if not chunk:
                    return
                self._listener.output(chunk)
            elif not ready:
                self._listener.idle()
            self._tick(process)
            if drain_until is None and process.poll() is not None:
                drain_until = time.monotonic() + _DRAIN_S
            if drain_until is not None and time.monotonic() > drain_until:
                return

    def _wait_for_end(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for a launcher that has closed its output but not ended."""
        while True:
            try:
                process.wait(timeout=_IDLE_S)
            except subprocess.TimeoutExpired:
                self._tick(process)
            else:
                return

    def _relay(self, number: int, _frame: FrameType | None) -> None:
        if number in _ENDING and self.ended_by is None:
            self.ended_by = signal.Signals(number)
            self._kill_at = time.monotonic() + self._kill_after_s
        if self._process:
            self._process.send_signal(number)

    def _tick(self, process: "subprocess.Popen[bytes]") -> None:
        if self.ended_by and not self._told_ending:
            self._told_ending = True
            self._listener.ending(self.ended_by)
        self._listener.tick()
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            with contextlib.suppress(ProcessLookupError):  # it may have ended just now
                os.killpg(process.pid, signal.SIGKILL)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _empty(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass


def _widen(pipe: int) -> None:
    """Make the pipe larger, so that bursts need fewer turns; a user's quota may refuse it."""
    import fcntl  # noqa: PLC0415

    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
