"""Memory that the training copies its state into and the writer process reads: shared, and reused.

The memory is a memfd: it has no name, so nothing is left behind whatever dies, and the kernel frees
it with the last process that has it open. It counts as memory of the job.
"""

import contextlib
import ctypes
import mmap
import os
import threading
from collections.abc import Sequence
from typing import Any

import torch

from slurmkit.checkpoint.tensors.plan import Plan

_PAGE = 4096
_PIECE = 16 << 20
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14; madvise(2)


class Buffer:
    """One staged save: the index (rank 0), then the image of the rank's file.

    Args:
        name: told to the writer process with the descriptor.
        pinned: register the memory with CUDA, so that copies from a device do not wait.
    """

    def __init__(self, name: int, *, pinned: bool = False) -> None:
        self.name = name
        self.size_bytes = 0
        self.descriptor = os.memfd_create(f"slurmkit-checkpoint-{name}", os.MFD_CLOEXEC)
        self.announced = 0  # the size that the writer process knows
        self._pinned = pinned
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self._memory = memoryview(b"")
        self._plan: Plan | None = None
        self._views: list[torch.Tensor] = []
        self._warming: threading.Thread | None = None
        self._enough = threading.Event()

    def fit(self, plan: Plan, more_bytes: int) -> None:
        """Make room for the tensors of a plan, and for so many bytes more."""
        needed = image_start(plan) + plan.image.data_end + more_bytes
        if needed > self.size_bytes:
            self._grow(needed + more_bytes // 2)
        elif plan is self._plan:
            return
        self._adopt(plan)

    def warm(self) -> None:
        """Let the kernel give the memory in the background, at the lowest priority.

        The first touch of a page costs several times as much as copying it.
        """
        self._enough.clear()
        self._warming = threading.Thread(target=self._populate, name="slurmkit-warm", daemon=True)
        self._warming.start()

    def wait_until_warm(self, timeout_s: float) -> None:
        """Wait for `warm` to be through."""
        if self._warming is not None:
            self._warming.join(timeout_s)

    def fill(self, tensors: Sequence[torch.Tensor], objects: bytes, extra: bytes) -> dict[str, int]:
        """Copy tensors, in the order of the plan's image, and the rest; say where everything is.

        Copies from a CUDA device are queued on the current stream and may not be through yet.
        """
        assert self._plan is not None
        self._enough.set()
        image, start = self._plan.image, image_start(self._plan)
        with torch.no_grad():
            if tensors:
                torch._foreach_copy_(self._views, list(tensors), non_blocking=True)
        self._put(start, image.head_for(len(objects)))
        self._put(start + image.data_end, objects)
        size = image.data_end + len(objects)
        self._put(start + size, extra)
        return {
            "buffer": self.name,
            "index_size": len(self._plan.index),
            "image_start": start,
            "image_size": size,
            "extra_start": start + size,
            "extra_size": len(extra),
        }

    def close(self) -> None:
        """Give the memory back."""
        self._enough.set()
        self.wait_until_warm(60)
        self._let_go()
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    def _adopt(self, plan: Plan) -> None:
        self._plan = plan
        self._put(0, plan.index)
        start = image_start(plan)
        self._views = []
        for chunk, place in zip(plan.image.chunks, plan.image.places, strict=True):
            raw = self._bytes[start + place : start + place + chunk.size_bytes]
            dtype: torch.dtype = getattr(torch, chunk.dtype)
            self._views.append(raw.view(dtype).view(chunk.sizes))

    def _put(self, place: int, data: bytes) -> None:
        self._memory[place : place + len(data)] = data

    def _grow(self, size: int) -> None:
        self._enough.set()
        self.wait_until_warm(60)
        self._let_go()
        rounded = -(-size // _PAGE) * _PAGE
        os.ftruncate(self.descriptor, rounded)
        self._memory = memoryview(mmap.mmap(self.descriptor, rounded))
        self._bytes = torch.frombuffer(self._memory, dtype=torch.uint8)
        # Only now: what failed before this is tried anew by the next save.
        self.size_bytes = rounded
        if self._pinned:
            cuda: Any = torch.cuda
            # raises when CUDA refuses, for example above the limit of locked memory
            cuda.check_error(
                int(cuda.cudart().cudaHostRegister(self._bytes.data_ptr(), self.size_bytes, 0))
            )

    def _let_go(self) -> None:
        if self._pinned and self.size_bytes:
            cuda: Any = torch.cuda
            cuda.cudart().cudaHostUnregister(self._bytes.data_ptr())
        self._plan = None
        self._views = []
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self._memory = memoryview(b"")
        self.size_bytes = self.announced = 0

    def _populate(self) -> None:
        # Linux counts niceness per thread: the training's own threads keep theirs
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        madvise = ctypes.CDLL(None).madvise
        memory = self._bytes
        for start in range(0, self.size_bytes, _PIECE):
            length = min(_PIECE, self.size_bytes - start)
            address = ctypes.c_void_p(memory.data_ptr() + start)
            if self._enough.is_set():
                return
            if madvise(address, ctypes.c_size_t(length), _POPULATE_WRITE):
                return  # an older kernel: then the first save touches the pages


def image_start(plan: Plan) -> int:
    """Return where the image begins in a buffer: after the index, on a page of its own."""
    return -(-len(plan.index) // _PAGE) * _PAGE
