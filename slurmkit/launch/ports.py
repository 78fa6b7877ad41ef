"""Choose a port for the rendezvous that no other job on this host has or will be given.

Two claims make it ours: an abstract Unix socket named after the port, which only one process of the
host's network namespace can hold, whatever user or mount namespace it is in, and which the kernel
releases when its holder dies; and a bind() of the port itself, which proves that nobody else uses
it. The port lies below the ephemeral range, so that no outgoing connection takes it in between.
"""

import errno
import socket
from collections.abc import Iterator

_RANGE_FILE = "/proc/sys/net/ipv4/ip_local_port_range"
_FIRST, _MIN_PORTS, _LAST = 10240, 1024, 65535
_HOLD_NAME = "\0slurmkit/port/{}"


def port_range(ephemeral: tuple[int, int]) -> tuple[int, int]:
    """Return the first and last port to choose from.

    Args:
        ephemeral: first and last port that the kernel hands out by itself.

    Returns:
        What lies below that range; where a site has widened it too far down, what lies above;
        else the upper half of the range itself, where bind() and the retry still keep jobs apart.
    """
    low, high = ephemeral
    if low - _FIRST >= _MIN_PORTS:
        return max(_FIRST, low - 16384), low - 1
    if _LAST - high >= _MIN_PORTS:
        return high + 1, _LAST
    return (max(low, _FIRST) + high) // 2, high


def system_port_range() -> tuple[int, int]:
    """Return the first and last port to choose from on this host."""
    try:
        with open(_RANGE_FILE, encoding="ascii") as file:  # noqa: PTH123 (rank 0 runs this)
            low, high = file.read().split()
        return port_range((int(low), int(high)))
    except (OSError, ValueError):
        return port_range((32768, 60999))


def candidates(first: int, last: int, seed: int) -> Iterator[int]:
    """Yield every port of the range once, in an order that differs between jobs."""
    size = last - first + 1
    # Knuth's multiplicative hash puts jobs of consecutive ids far apart in the range.
    start = seed * 2654435761 % 2**32 * size >> 32
    for offset in range(size):
        yield first + (start + offset) % size


def reserve(seed: int) -> tuple[int, socket.socket | None]:
    """Return a port, and the socket that reserves it for as long as it is open.

    Args:
        seed: where in the range to begin; the job's and step's ids make good ones.

    Raises:
        SlurmkitError: every port is taken.
    """
    first, last = system_port_range()
    for port in candidates(first, last, seed):
        try:
            holder = _hold(port)
        except BlockingIOError:
            continue
        if _is_free(port):
            return port, holder
        if holder:
            holder.close()
    from slurmkit.errors import SlurmkitError  # noqa: PLC0415

    raise SlurmkitError(f"no free TCP port between {first} and {last} on this host")


def _hold(port: int) -> socket.socket | None:
    """Return the socket that reserves the port; None on systems without abstract sockets.

    Raises:
        BlockingIOError: another process has reserved it.
    """
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(_HOLD_NAME.format(port))
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            raise BlockingIOError from error
        return None
    return holder


def _is_free(port: int) -> bool:
    """Whether the port can be bound on all addresses, IPv4 and IPv6."""
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):  # noqa: S104 (bound for an instant, never listening)
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((address, port))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # no IPv6 here
                return False
    return True
