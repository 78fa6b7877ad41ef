"""Wait for rank 0's store, which the other ranks often look for a moment before it is there.

torch's own client looks again only half a second or more after the first refusal (TCPStore's
ExponentialBackoffWithJitter; 0.5 to 0.7 s were seen with 2.13), at every start of every job.
"""

import random
import socket
import time

from slurmkit.train.errors import TrainError

_FIRST_S, _FACTOR = 0.01, 1.5
_LONGEST_S = 0.1
# How many knocks per second rank 0's kernel may have to refuse.
_MOST_PER_S = 20_000
# Of one that nobody refuses, such as when a firewall drops it.
_KNOCK_S = 10.0


def await_store(address: str, port: int, num_ranks: int, timeout_s: float) -> None:
    """Return once rank 0 listens.

    Args:
        address: of rank 0's host.
        port: of its store.
        num_ranks: how many may be waiting.
        timeout_s: most seconds to wait.

    Raises:
        TrainError: nobody listens there in time.
    """
    own = random.SystemRandom()  # not the program's: what that draws must not depend on us
    deadline = time.monotonic() + timeout_s
    longest_s = max(_LONGEST_S, num_ranks / _MOST_PER_S)
    pause_s = _FIRST_S
    while True:
        left_s = max(0.001, deadline - time.monotonic())
        try:
            socket.create_connection((address, port), timeout=min(left_s, _KNOCK_S)).close()
        except OSError as error:  # names may take a moment to be known, too
            if time.monotonic() >= deadline:
                raise TrainError(
                    f"rank 0 cannot be reached at {address}:{port} for {timeout_s:g} s: {error}",
                    hint="see in its log whether it runs, and whether this host may connect to it",
                ) from error
        else:
            return
        # Each at another time, or rank 0's host would hear all of them at once.
        time.sleep(min(left_s, pause_s * own.uniform(0.5, 1)))
        pause_s = min(pause_s * _FACTOR, longest_s)
