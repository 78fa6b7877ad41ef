"""The training's end of the writer process: start it, ask it, hear from it, notice its death."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

from slurmkit.checkpoint import errors
from slurmkit.checkpoint.fence import StaleTokenError
from slurmkit.checkpoint.leveled import LeveledStore
from slurmkit.checkpoint.manifest import Manifest, parse
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors.errors import WriterDiedError
from slurmkit.checkpoint.tensors.part import Place
from slurmkit.checkpoint.tensors.writer import FOR_THE_TRAINING, PACKET_BYTES

# The child takes over the search path, so that it finds the same slurmkit, whatever the way
# this process found it.
_CHILD = (
    "import json, sys; settings = json.loads(sys.argv[1]); sys.path[:] = settings.pop('path');"
    " from slurmkit.checkpoint.tensors.writer import main; main(settings)"
)
_KINDS = {
    kind.__name__: kind for kind in (errors.NoSpaceError, errors.SaveFailedError, StaleTokenError)
}


@dataclass(frozen=True)
class Heard:
    """Something that the writer process said.

    Attributes:
        step: which save it is about.
        what: ``written`` (this rank's part is durable and reported, its memory is free again),
            ``committed`` (on rank 0) or ``failed``.
        manifest: of the committed step.
        error: why it failed.
    """

    step: int
    what: str
    manifest: Manifest | None = None
    error: errors.CheckpointError | None = None


class WriterProcess:
    """One writer process; it is started at once and in the background."""

    def __init__(self, store: CheckpointStore, place: Place) -> None:
        self._folder = store.dir
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)  # the flags of recv_fds do nothing in Python 3.11
        self._socket = ours
        settings = {
            "path": sys.path,
            "socket": theirs.fileno(),
            "parent": os.getpid(),
            "main_thread": threading.current_thread() is threading.main_thread(),
            "folder": str(store.dir.path),
            "token": store.token,
            "keep": store.keep,
            "run": store.run,
            "local_dir": str(store.local_dir) if isinstance(store, LeveledStore) else None,
            "partner": isinstance(store, LeveledStore) and store.partner,
            "rank": place.rank,
            "world_size": place.world_size,
            "timeout_s": place.timeout_s,
        }
        # The child begins with these signals blocked, so none kills it before it ignores them
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_TRAINING)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,  # the training's standard output is its own
                pass_fds=[theirs.fileno()],
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is something to hear."""
        return self._socket.fileno()

    def tell_buffer(self, name: int, size: int, descriptor: int) -> None:
        """Pass shared memory.

        Raises:
            WriterDiedError: the process is gone.
        """
        self._send({"do": "buffer", "name": name, "size": size}, [descriptor])

    def ask(self, request: dict[str, Any]) -> None:
        """Ask for a save.

        Raises:
            WriterDiedError: the process is gone.
        """
        self._send({"do": "save", **request}, [])

    def hear(self) -> list[Heard]:
        """Return what it has said since the last call, without waiting.

        Raises:
            WriterDiedError: the process is gone, and everything it said was returned before.
        """
        heard: list[Heard] = []
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._socket, PACKET_BYTES, 1)
            except BlockingIOError:
                return heard
            except ConnectionError:
                packet, descriptors = b"", []
            if not packet:
                if heard:
                    return heard
                raise self._died()
            heard.append(self._understood(json.loads(packet), list(descriptors)))

    def close(self) -> None:
        """End the process; what it was writing does not count."""
        self._socket.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _understood(self, message: dict[str, Any], descriptors: list[int]) -> Heard:
        step = message["step"]
        if message["is"] == "failed":
            kind = _KINDS.get(message["error"], errors.SaveFailedError)
            return Heard(step, "failed", error=kind(message["message"], hint=message["hint"]))
        manifest = None
        for descriptor in descriptors:
            with os.fdopen(descriptor, "rb") as file:
                file.seek(0)
                manifest = parse(file.read(), self._folder.step_path(step), step)
        return Heard(step, message["is"], manifest)

    def _send(self, message: dict[str, Any], descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
        except OSError as error:
            raise self._died() from error

    def _died(self) -> WriterDiedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return WriterDiedError(
            f"the checkpoint writer process {self._process.pid} on {os.uname().nodename} ended"
            f" ({how})",
            hint="the next save starts another one; signal 9 often means that memory ran out",
        )
