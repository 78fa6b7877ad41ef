"""A rank that measures over MPI by mpi4py: ``python -m slurmkit.bench.ranks_mpi``."""

import os
import sys
from typing import Any

from mpi4py import MPI

from slurmkit.bench import patterns
from slurmkit.bench.formulas import ALLREDUCE
from slurmkit.bench.order import Order
from slurmkit.bench.ranks import run_rank, world_size_told
from slurmkit.errors import SlurmkitError


class MpiTransport:
    """MPI's world, with buffers in main memory."""

    via = "mpi"
    device = "cpu"

    def __init__(self, _order: Order) -> None:
        self._world: Any = MPI.COMM_WORLD
        self.rank: int = self._world.Get_rank()
        self.world_size: int = self._world.Get_size()
        self.library = MPI.Get_library_version().split(",")[0].splitlines()[0].strip("\0 ")
        told = world_size_told(os.environ)
        if told is not None and told != self.world_size:
            raise SlurmkitError(
                f"rank {os.environ.get('RANK', '?')} on {os.uname().nodename}: MPI found "
                f"{self.world_size} ranks where {told} were started",
                hint="MPI and the launcher do not fit together: try --launcher mpirun, or another "
                "--mpi plugin (`srun --mpi=list`)",
            )

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._world.Barrier()

    def share(self, value: Any) -> list[Any]:
        """Return the value of every rank, on every rank."""
        values: list[Any] = self._world.allgather(value)
        return values

    def collective(self, operation: str, size_bytes: int) -> "_Collective":
        """Prepare a collective."""
        return _Collective(self._world, operation, size_bytes)

    def message(self, peer: int, size_bytes: int) -> "_Message":
        """Prepare messages to and from another rank."""
        return _Message(self._world, peer, size_bytes)

    def close(self) -> None:
        """End; MPI itself ends with the process."""

    def abort(self) -> None:
        """End all ranks: those that wait would wait for ever."""
        self._world.Abort(1)


class _Collective:
    def __init__(self, world: Any, operation: str, size_bytes: int) -> None:
        self._world = world
        self._reduces = operation == ALLREDUCE
        share = size_bytes if self._reduces else size_bytes // world.Get_size()
        self._given = patterns.give(world.Get_rank(), share)
        self._got = bytearray(size_bytes)
        self._zeros = bytes(size_bytes)

    def reset(self) -> None:
        self._got[:] = self._zeros

    def run(self) -> None:
        if self._reduces:
            self._world.Allreduce([self._given, MPI.FLOAT], [self._got, MPI.FLOAT], op=MPI.SUM)
        else:
            self._world.Allgather([self._given, MPI.FLOAT], [self._got, MPI.FLOAT])

    def result(self) -> bytes | bytearray | memoryview:
        return self._got


class _Message:
    def __init__(self, world: Any, peer: int, size_bytes: int) -> None:
        self._world = world
        self._peer = peer
        self._given = patterns.give(world.Get_rank(), size_bytes)
        self._got = bytearray(size_bytes)

    def send(self) -> None:
        self._world.Send([self._given, MPI.BYTE], dest=self._peer)

    def receive(self) -> None:
        self._world.Recv([self._got, MPI.BYTE], source=self._peer)

    def clear(self) -> None:
        self._got[:] = bytes(len(self._got))

    def received(self) -> bytes | bytearray | memoryview:
        return self._got


if __name__ == "__main__":
    sys.exit(run_rank(MpiTransport, sys.argv[1:]))
