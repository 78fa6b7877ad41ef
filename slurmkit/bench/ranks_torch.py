"""A rank that measures over torch.distributed: ``python -m slurmkit.bench.ranks_torch``."""

import datetime
import os
import sys
from typing import Any

import torch
import torch.distributed as dist

from slurmkit.bench import patterns
from slurmkit.bench.formulas import ALLREDUCE
from slurmkit.bench.order import Order
from slurmkit.bench.ranks import run_rank
from slurmkit.errors import SlurmkitError

_TIMEOUT = datetime.timedelta(minutes=5)


class TorchTransport:
    """torch.distributed with gloo on CPUs or NCCL on GPUs."""

    def __init__(self, order: Order) -> None:
        self.via = order.backend
        self.device = "cuda" if order.backend == "nccl" else "cpu"
        self._device = torch.device("cpu")
        if self.device == "cuda":
            self._device = _own_gpu()
            torch.cuda.set_device(self._device)
            dist.init_process_group("nccl", timeout=_TIMEOUT, device_id=self._device)
            self.library = f"{_nccl()}, torch {torch.__version__}"
        else:
            dist.init_process_group("gloo", timeout=_TIMEOUT)
            self.library = f"gloo, torch {torch.__version__}"
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.device == "cuda":
            dist.barrier(device_ids=[self._device.index])
            torch.cuda.synchronize()
        else:
            dist.barrier()

    def share(self, value: Any) -> list[Any]:
        """Return the value of every rank, on every rank."""
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def collective(self, operation: str, size_bytes: int) -> "_Collective":
        """Prepare a collective."""
        return _Collective(self, operation, size_bytes)

    def message(self, peer: int, size_bytes: int) -> "_Message":
        """Prepare messages to and from another rank."""
        return _Message(self, peer, size_bytes)

    def tensor(self, content: bytes) -> torch.Tensor:
        """Return 32-bit floats on the device."""
        return torch.frombuffer(bytearray(content), dtype=torch.float32).to(self._device)

    def finish(self) -> None:
        """Wait for the GPU; NCCL's calls return when they are queued."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def close(self) -> None:
        """End."""
        dist.destroy_process_group()

    def abort(self) -> None:
        """End without the others: they must not wait for this rank."""
        os._exit(1)


class _Collective:
    def __init__(self, transport: TorchTransport, operation: str, size_bytes: int) -> None:
        self._transport = transport
        self._reduces = operation == ALLREDUCE
        share = size_bytes if self._reduces else size_bytes // transport.world_size
        self._given = transport.tensor(patterns.give(transport.rank, share))
        self._got = torch.zeros(size_bytes // 4, dtype=torch.float32, device=self._given.device)

    def reset(self) -> None:
        if self._reduces:
            self._got.copy_(self._given)
        else:
            self._got.zero_()
        self._transport.finish()

    def run(self) -> None:
        if self._reduces:
            dist.all_reduce(self._got)
        else:
            dist.all_gather_into_tensor(self._got, self._given)
        self._transport.finish()

    def result(self) -> bytes | bytearray | memoryview:
        return _content(self._got)


class _Message:
    def __init__(self, transport: TorchTransport, peer: int, size_bytes: int) -> None:
        self._transport = transport
        self._peer = peer
        self._given = transport.tensor(patterns.give(transport.rank, size_bytes))
        self._got = torch.zeros_like(self._given)

    def send(self) -> None:
        dist.send(self._given, self._peer)
        self._transport.finish()

    def receive(self) -> None:
        dist.recv(self._got, self._peer)
        self._transport.finish()

    def clear(self) -> None:
        self._got.zero_()
        self._transport.finish()

    def received(self) -> bytes | bytearray | memoryview:
        return _content(self._got)


def _content(tensor: torch.Tensor) -> memoryview:
    return tensor.cpu().view(torch.uint8).numpy().data


def _nccl() -> str:
    version: Any = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
    return f"NCCL {'.'.join(map(str, version))}"


def _own_gpu() -> torch.device:
    count = torch.cuda.device_count()
    if not count:
        raise SlurmkitError(
            f"no GPU is visible on {os.uname().nodename}",
            hint="ask for GPUs (--gpus-per-node), or measure over gloo (--via gloo)",
        )
    # Slurm may show each rank its own GPU only.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % count)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(run_rank(TorchTransport, sys.argv[1:]))
