"""Work that may hang, such as reading a dead file system, in a child process with a deadline."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

_READ_BYTES = 1 << 16
_MAX_BYTES = 1 << 22


class Child:
    """A forked copy of this process that does one thing and answers with one JSON value.

    Fork without exec is safe here: the agent has one thread.

    Args:
        work: what it does.
        on_done: is given the answer; None when it did not come in time, or not whole.
        deadline: monotonic seconds at which it is killed.
        close: descriptors that it must not keep open.
    """

    def __init__(
        self,
        work: Callable[[], Any],
        on_done: Callable[[Any], None],
        deadline: float,
        close: Iterable[int] = (),
    ) -> None:
        self.deadline = deadline
        self._on_done = on_done
        self._answer = bytearray()
        self.descriptor, writing = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _be_the_child(work, writing, (self.descriptor, *close))
        os.close(writing)

    def ready(self) -> bool:
        """Read what there is; return whether that was all."""
        data = os.read(self.descriptor, _READ_BYTES)
        self._answer += data
        if data and len(self._answer) <= _MAX_BYTES:
            return False
        self._finish()
        return True

    def expire(self) -> None:
        """It takes too long."""
        self._answer.clear()
        self._finish()

    def _finish(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.close(self.descriptor)
        answer = None
        with contextlib.suppress(ValueError):
            answer = json.loads(self._answer)
        self._on_done(answer)


def reap() -> None:
    """Collect children that have ended; one that hangs in the kernel is not waited for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _be_the_child(work: Callable[[], Any], writing: int, close: Iterable[int]) -> None:
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        for descriptor in close:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        data = json.dumps(work()).encode()
        while data:
            data = data[os.write(writing, data) :]
        code = 0
    except Exception as error:  # noqa: BLE001 (the outermost edge of this process)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"slurmkit agent: {error!r}\n")
    finally:
        os._exit(code)
