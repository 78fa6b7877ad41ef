"""The process that writes a rank's checkpoints while the training goes on.

Standard library and xxhash; no torch, so it starts in a moment, is small, and has no CUDA context.
It ends with the training, however that ends, and ignores the signals that are meant for it: the
save in flight at SIGTERM is the one that counts.
"""

import contextlib
import ctypes
import json
import logging
import mmap
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.checkpoint.leveled import LeveledStore
from slurmkit.checkpoint.manifest import Manifest, render
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors.part import Place, Work, finish, give_up, write_part
from slurmkit.checkpoint.writer import StepWriter

_Request = tuple[dict[str, Any], list[int]]  # a message and the descriptors that came with it
PACKET_BYTES = 64 << 10
# Slurm sends signals to every process of a job step
FOR_THE_TRAINING = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)
# 3.4 % of a core that others use fully (sched(7)): they notice less than 5 %, and the save goes on
_NICE = 15
_LAST_IO = 2 << 13 | 7  # IOPRIO_CLASS_BE, the last of its levels; ioprio_set(2)
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "ppc64le": 273}
_log = logging.getLogger(__name__)


def main(settings: dict[str, Any]) -> None:
    """Serve one training process until it is gone.

    Args:
        settings: ``socket`` (descriptor), ``parent`` (process id), ``main_thread`` (it started us),
            ``folder``, ``token``, ``keep``, ``run``, ``local_dir``, ``partner``, ``rank``,
            ``world_size``, ``timeout_s``.
    """
    end_with(settings["parent"], settings["main_thread"])
    for number in FOR_THE_TRAINING:
        signal.signal(number, signal.SIG_IGN)
    _be_modest()
    logging.basicConfig(format="slurmkit checkpoint writer: %(message)s", stream=sys.stderr)
    connection = socket.socket(fileno=settings["socket"])
    requests: SimpleQueue[_Request] = SimpleQueue()
    threading.Thread(
        target=_listen, args=(connection, settings["parent"], requests), daemon=True
    ).start()
    server = _Server(settings, connection)
    while True:
        request, descriptors = requests.get()
        if request["do"] == "buffer":
            server.take_buffer(request["name"], request["size"], descriptors[0])
        else:
            server.save(request)


def end_with(parent: int, main_thread: bool) -> None:
    """Be killed when the training dies.

    The kernel's signal comes when the *thread* ends that started this process (prctl(2)), so it is
    asked for only when that was the main thread; `_listen` notices the end of the process always.
    """
    if main_thread:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before that
        os._exit(1)


class _Server:
    """The buffers and what is done with them."""

    def __init__(self, settings: dict[str, Any], connection: socket.socket) -> None:
        self._connection = connection
        self._place = Place(settings["rank"], settings["world_size"], settings["timeout_s"])
        self._settings = settings
        self._store: CheckpointStore | None = None
        self._buffers: dict[int, mmap.mmap] = {}

    def take_buffer(self, name: int, size: int, descriptor: int) -> None:
        """Map shared memory under a name; it replaces what had that name."""
        self._buffers[name] = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        os.close(descriptor)

    def save(self, request: dict[str, Any]) -> None:
        """Write what is staged, report, commit on rank 0, and say what came of it."""
        step = request["step"]
        writer: StepWriter | None = None
        try:
            writer, extra = self._write(request)
            self._say({"is": "written", "step": step})
            if self._place.rank == 0:
                manifest = finish(self._the_store(), writer, self._place, extra)
                self._say({"is": "committed", "step": step}, manifest)
        except Exception as error:  # noqa: BLE001 (the edge of this process: the training must learn it)
            if writer is not None and not isinstance(error, CheckpointError):
                give_up(writer, self._place, error)
            self._say({"is": "failed", "step": step, **_described(error)})

    def _write(self, request: dict[str, Any]) -> tuple[StepWriter, dict[str, Any]]:
        with memoryview(self._buffers[request["buffer"]]) as memory:
            starts = [request["image_start"], request["extra_start"]]
            image = memory[starts[0] : starts[0] + request["image_size"]]
            index = memory[: request["index_size"]]
            extra = memory[starts[1] : starts[1] + request["extra_size"]]
            try:
                told = json.loads(bytes(extra))
                work = Work(request["step"], len(image), [image], index, told)
                return write_part(self._the_store(), self._place, work), told
            finally:
                for view in (image, index, extra):
                    view.release()

    def _the_store(self) -> CheckpointStore:
        # Late, as it makes the folder, and that may fail: then this save fails, and not the process
        if self._store is None:
            store = CheckpointStore(
                Path(self._settings["folder"]),
                token=self._settings["token"],
                keep=self._settings["keep"],
                run=self._settings["run"],
            )
            if self._settings["local_dir"] is not None:
                store = LeveledStore.before(
                    store,
                    Path(self._settings["local_dir"]),
                    rank=self._place.rank,
                    world_size=self._place.world_size,
                    partner=self._settings["partner"],
                )
            self._store = store
        return self._store

    def _say(self, message: dict[str, Any], manifest: Manifest | None = None) -> None:
        packet = json.dumps(message).encode()
        if manifest is None:
            self._connection.send(packet)
            return
        # The manifest of thousands of ranks is larger than a packet may be
        descriptor = os.memfd_create("slurmkit-manifest", os.MFD_CLOEXEC)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(render(manifest))
            socket.send_fds(self._connection, [packet], [descriptor])
        finally:
            os.close(descriptor)


def _described(error: BaseException) -> dict[str, str]:
    message = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
    return {
        "error": type(error).__name__,
        "message": message[:8000],
        "hint": getattr(error, "hint", ""),
    }


def _listen(
    connection: socket.socket,
    parent: int,
    requests: "SimpleQueue[tuple[dict[str, Any], list[int]]]",
) -> None:
    """Queue what the training asks for; end this process at once when the training is gone."""
    sources: list[Any] = [connection]
    # A closed socket is no proof, as forked data loaders hold copies of the other end
    with contextlib.suppress(OSError, AttributeError):  # Linux before 5.3
        sources.append(os.pidfd_open(parent))
    while True:
        ready, _, _ = select.select(sources, [], [])
        if connection not in ready:
            os._exit(0)
        packet, descriptors, _, _ = socket.recv_fds(connection, PACKET_BYTES, 1)
        if not packet:
            os._exit(0)
        requests.put((json.loads(packet), list(descriptors)))


def _be_modest() -> None:
    """Leave processor and disk to the training where it wants them."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _LAST_IO)
