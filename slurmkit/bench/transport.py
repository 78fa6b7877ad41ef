"""What a measurement needs of a library that sends bytes; each library is one such class."""

from typing import Any, Protocol

from slurmkit.bench.patterns import first_difference
from slurmkit.errors import SlurmkitError


class WrongResultError(SlurmkitError):
    """Bytes arrived that are not those that were sent, or a sum is wrong."""


class Collective(Protocol):
    """One collective of one size, with its buffers."""

    def reset(self) -> None:
        """Put what this rank gives into place, and clear what it gets."""

    def run(self) -> None:
        """Do it; return when the result can be read."""

    def result(self) -> bytes | bytearray | memoryview:
        """Return what this rank got."""


class Message(Protocol):
    """Messages of one size between this rank and another, with their buffers."""

    def send(self) -> None:
        """Send; return when the buffer may be used again."""

    def receive(self) -> None:
        """Receive; return when the bytes are here."""

    def clear(self) -> None:
        """Clear what was received."""

    def received(self) -> bytes | bytearray | memoryview:
        """Return what was received."""


class Transport(Protocol):
    """A library that connects all ranks."""

    rank: int
    world_size: int
    via: str
    library: str
    device: str

    def barrier(self) -> None:
        """Wait for all ranks."""

    def share(self, value: Any) -> list[Any]:
        """Return the value of every rank, in their order, on every rank."""

    def collective(self, operation: str, size_bytes: int) -> Collective:
        """Prepare a collective.

        Args:
            operation: ``allreduce`` or ``allgather``.
            size_bytes: whole 32-bit numbers; for an all-gather also a multiple of all ranks.
        """

    def message(self, peer: int, size_bytes: int) -> Message:
        """Prepare messages between this rank and another."""

    def close(self) -> None:
        """End; the library is not used after this."""

    def abort(self) -> None:
        """End because something is wrong, so that no other rank waits for this one."""


def compare(got: bytes | bytearray | memoryview, wanted: bytes, where: str) -> None:
    """Compare a result with the right one.

    Raises:
        WrongResultError: it differs; the message says where.
    """
    offset = first_difference(got, wanted)
    if offset is not None:
        raise WrongResultError(
            f"wrong result: {where}: byte {offset} is not what it must be",
            hint="the library or the hardware damages data: run no job on this node before "
            "`slurmkit doctor` and the NIC's and the GPU's own diagnostics are clean",
        )
