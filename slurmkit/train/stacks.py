"""A signal that makes this rank write its Python stacks to a file, also while it hangs in C."""

import faulthandler
import logging
import os
import signal
from typing import Any, TextIO

from slurmkit.train.settings import Settings

_log = logging.getLogger("slurmkit.train")


class Stacks:
    """Registers the signal where there is an agent that may send it.

    Args:
        settings: says where the run directory is, and which signal is taken.
        rank: number of this rank.

    Attributes:
        hello: what the agent has to know to ask for the stacks.
    """

    def __init__(self, settings: Settings, rank: int) -> None:
        self.hello: dict[str, Any] = {"pid": os.getpid(), "dump": None}
        self._file: TextIO | None = None
        self._signal = signal.SIGUSR1
        if settings.run_dir is None or settings.agent_socket is None:
            return
        if settings.warning_signal is self._signal:
            self._signal = signal.SIGUSR2
        path = settings.run_dir / "logs" / f"attempt-{settings.attempt}" / f"rank-{rank:05d}.stacks"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a")
        except OSError as error:
            _log.warning("no stacks can be written to %s: %s", path, error.strerror)
            return
        faulthandler.register(self._signal, file=self._file, all_threads=True)
        name = self._signal.name.removeprefix("SIG")
        self.hello |= {"dump": name, "dump_path": str(path)}

    def close(self) -> None:
        """Unregister; a signal that comes late does no harm."""
        if self._file is not None:
            faulthandler.unregister(self._signal)
            signal.signal(self._signal, signal.SIG_IGN)
            self._file.close()
            self._file = None
