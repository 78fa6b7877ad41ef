"""Start child processes that never outlive the one that started them."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slurmkit.errors import SlurmkitError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class NotStartedError(SlurmkitError):
    """A program could not be started."""

    def __init__(self, program: str, error: OSError) -> None:
        super().__init__(f"cannot run {program}: {error.strerror}")
        self.error = error

    @property
    def shell_code(self) -> int:
        """The exit code that a shell gives for it."""
        return 127 if isinstance(self.error, (FileNotFoundError, NotADirectoryError)) else 126


def spawn(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    workdir: Path | None = None,
    parent_death_signal: signal.Signals = signal.SIGKILL,
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own with stdout and stderr in one pipe.

    One pipe keeps the order of lines. The kernel sends it ``parent_death_signal`` when this thread
    dies in whatever way (Linux; elsewhere only a process that ends in good order takes it along).

    Raises:
        NotStartedError: there is no such program, or it cannot be executed.
    """
    try:
        return subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=workdir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            preexec_fn=_death_signal(parent_death_signal),  # noqa: PLW1509 (one thread, no import)
        )
    except OSError as error:
        raise NotStartedError(str(error.filename or command[0]), error) from error


def _death_signal(number: signal.Signals) -> Callable[[], object] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork: no import after it
    arguments = (ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(int(number)))
    return lambda: prctl(*arguments)
