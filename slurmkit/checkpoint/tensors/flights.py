"""Saves in flight: staged in shared memory, and on their way to disk in the writer process."""

import select
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from slurmkit.checkpoint.errors import CheckpointError, SaveFailedError
from slurmkit.checkpoint.layout import MANIFEST_NAME
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tensors.part import Place, give_up
from slurmkit.checkpoint.tensors.plan import Order, Plan
from slurmkit.checkpoint.tensors.process import Heard, WriterProcess
from slurmkit.checkpoint.tensors.results import SaveResult
from slurmkit.checkpoint.tensors.staging import Buffer
from slurmkit.checkpoint.verify import read_manifest

_MOST_BUFFERS = 2


@dataclass(frozen=True)
class _Flight:
    """A save that has no outcome yet."""

    step: int
    start: float
    buffer: Buffer | None
    stall_s: float = 0.0


@dataclass(frozen=True)
class _Copying:
    """A save whose copies from a device are queued and maybe not through.

    Attributes:
        request: for the writer process.
        buffer: where the copies go.
        event: recorded after the last of them.
        tensors: kept until then, so that nobody else gets their memory.
    """

    request: dict[str, Any]
    buffer: Buffer
    event: Any  # torch.cuda.Event, which is not typed
    tensors: Sequence[torch.Tensor]


class Flights:
    """The writer process of a rank, its shared memory, and the saves in flight.

    Args:
        store: the checkpoint folder.
        place: this rank.
    """

    def __init__(self, store: CheckpointStore, place: Place) -> None:
        self._store = store
        self._place = place
        self._buffers: list[Buffer] = []
        self._flights: dict[int, _Flight] = {}
        self._results: deque[SaveResult] = deque()
        self._copying: _Copying | None = None
        self._writer: WriterProcess | None = WriterProcess(store, place)

    @property
    def newest(self) -> int | None:
        """The newest step in flight."""
        return max(self._flights, default=None)

    @property
    def writer_pid(self) -> int | None:
        """The process id of the writer process, while there is one."""
        return self._writer.pid if self._writer else None

    def prepare(self, plan: Plan, tensors: Sequence[torch.Tensor]) -> None:
        """Get the memory that a plan needs, in the background."""
        buffer = self._buffers[0] if self._buffers else self._new_buffer(tensors)
        if not any(flight.buffer is buffer for flight in self._flights.values()):
            buffer.fit(plan, 1 << 16)
            buffer.warm()

    def wait_until_prepared(self, timeout_s: float) -> None:
        """Wait until the memory is there."""
        for buffer in self._buffers:
            buffer.wait_until_warm(timeout_s)

    def launch(self, order: Order) -> None:
        """Stage a save and hand it over.

        What goes wrong on this rank alone is an outcome of the save, as the other ranks are
        writing already: they learn it by the report that failed.
        """
        flight = _Flight(order.step, order.start, None)
        try:
            buffer = self._stage(order)
        except (CheckpointError, OSError, RuntimeError, MemoryError) as error:
            self._fail(flight, error)
            return
        stall_s = time.perf_counter() - order.start
        self._flights[order.step] = replace(flight, buffer=buffer, stall_s=stall_s)

    def poll(self) -> SaveResult | None:
        """Return an outcome that was not returned yet; the oldest first; never waits."""
        self._hear()
        return self._results.popleft() if self._results else None

    def newest_result(self) -> SaveResult | None:
        """Return the outcome of the newest save, if it was not returned yet."""
        return self._results.pop() if self._results else None

    def wait(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; False when that takes longer than the timeout."""
        deadline = time.monotonic() + timeout_s
        self._hand_over(wait=True)
        self._hear()
        while self._flights:
            if not self._wait_for_word(deadline - time.monotonic()):
                return False
        return True

    def close(self) -> None:
        """End the writer process and give the memory back; what is in flight is given up."""
        self._copying = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for buffer in self._buffers:
            buffer.close()
        self._buffers = []
        self._flights = {}

    def _stage(self, order: Order) -> Buffer:
        objects, told, tensors = order.objects(), order.told(), order.tensors()
        buffer = self._free_buffer(tensors)
        buffer.fit(order.plan, len(objects) + len(told))
        device = next((tensor.device for tensor in tensors if tensor.is_cuda), None)
        if device is None:
            places = buffer.fill(tensors, objects, told)
            self._ask({"step": order.step, **places}, buffer)
            return buffer
        cuda: Any = torch.cuda
        current, side = cuda.current_stream(device), cuda.Stream(device)
        side.wait_stream(current)
        with cuda.stream(side):
            places = buffer.fill(tensors, objects, told)
            event = cuda.Event()
            event.record(side)
        current.wait_event(event)  # kernels that are queued from now on wait for the copies
        self._copying = _Copying({"step": order.step, **places}, buffer, event, tensors)
        return buffer

    def _hand_over(self, *, wait: bool) -> None:
        """Ask for the save whose copies from the device are through."""
        copying = self._copying
        if copying is None or not (wait or copying.event.query()):
            return
        copying.event.synchronize()
        self._copying = None
        flight = self._flights.get(copying.request["step"])
        if flight is not None:
            try:
                self._ask(copying.request, copying.buffer)
            except CheckpointError as error:
                self._fail(flight, error)

    def _ask(self, request: dict[str, Any], buffer: Buffer) -> None:
        if self._writer is None:
            self._writer = WriterProcess(self._store, self._place)
        if buffer.announced != buffer.size_bytes:
            self._writer.tell_buffer(buffer.name, buffer.size_bytes, buffer.descriptor)
            buffer.announced = buffer.size_bytes
        self._writer.ask(request)

    def _new_buffer(self, tensors: Sequence[torch.Tensor]) -> Buffer:
        pinned = any(tensor.is_cuda for tensor in tensors)
        self._buffers.append(Buffer(len(self._buffers), pinned=pinned))
        return self._buffers[-1]

    def _free_buffer(self, tensors: Sequence[torch.Tensor]) -> Buffer:
        self._hand_over(wait=True)
        deadline = time.monotonic() + self._place.timeout_s
        while True:
            self._hear()
            used = [flight.buffer for flight in self._flights.values()]
            for buffer in self._buffers:
                if buffer not in used:
                    return buffer
            if len(self._buffers) < _MOST_BUFFERS:
                return self._new_buffer(tensors)
            if not self._wait_for_word(deadline - time.monotonic()):
                raise SaveFailedError(
                    f"rank {self._place.rank} has {_MOST_BUFFERS} saves in flight, and none of them"
                    f" ended within {self._place.timeout_s:g} s",
                    hint="the file system is too slow for this interval, or it hangs",
                )

    def _wait_for_word(self, timeout_s: float) -> bool:
        if self._writer is not None:
            ready, _, _ = select.select([self._writer], [], [], max(0.0, timeout_s))
            if not ready:
                return False
        self._hear()
        return True

    def _hear(self) -> None:
        self._hand_over(wait=False)
        while self._writer is not None:
            try:
                heard = self._writer.hear()
            except CheckpointError as error:
                self._writer.close()
                self._writer = None
                self._mourn(error)
                return
            if not heard:
                return
            for word in heard:
                self._take(word)

    def _take(self, word: Heard) -> None:
        flight = self._flights.get(word.step)
        if flight is None:
            return
        if word.what == "written" and self._place.rank == 0:
            self._flights[word.step] = replace(flight, buffer=None)
        else:
            self._end(flight, word.manifest, word.error)

    def _mourn(self, error: CheckpointError) -> None:
        """Find out what became of the saves that the dead process had in hand."""
        for buffer in self._buffers:
            buffer.announced = 0
        for flight in list(self._flights.values()):
            folder = self._store.dir.step_path(flight.step)
            if self._place.rank == 0 and (folder / MANIFEST_NAME).exists():
                with suppress(CheckpointError):  # it died after the commit, before it could say so
                    self._end(flight, read_manifest(folder, flight.step), None)
                    continue
            self._fail(flight, error)

    def _fail(self, flight: _Flight, reason: BaseException) -> None:
        error = reason if isinstance(reason, CheckpointError) else None
        if error is None:
            error = SaveFailedError(f"rank {self._place.rank}: {type(reason).__name__}: {reason}")
        with suppress(CheckpointError):  # the folder may be out of reach: the others then time out
            give_up(self._store.begin(flight.step), self._place, error)
        self._end(flight, None, error)

    def _end(
        self, flight: _Flight, manifest: Manifest | None, error: CheckpointError | None
    ) -> None:
        save_s = time.perf_counter() - flight.start
        self._results.append(SaveResult(flight.step, manifest, error, flight.stall_s, save_s))
        self._flights.pop(flight.step, None)
