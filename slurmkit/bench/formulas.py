"""What is measured, and how a time becomes a bandwidth.

Algorithm bandwidth is the size over the time. Bus bandwidth is what one link of the slowest kind
has to carry for it, by the best algorithm there is, so it can be compared with the link's rated
speed whatever the number of ranks. The factors are those of nccl-tests (doc/PERFORMANCE.md there).
"""

from slurmkit.bench.values import Rated
from slurmkit.errors import UsageError
from slurmkit.record import Record

ALLREDUCE, ALLGATHER, P2P, MATRIX = "allreduce", "allgather", "p2p", "matrix"


class Operation(Record):
    """One thing to measure.

    Attributes:
        name: its name.
        formula: bus bandwidth, for people.
        size_means: what the size counts, for people.
    """

    name: str
    formula: str
    size_means: str


OPERATIONS = {
    item.name: item
    for item in (
        Operation(
            ALLREDUCE, "size / time * 2(N-1)/N  (ring)", "the buffer that every rank gives and gets"
        ),
        Operation(ALLGATHER, "size / time * (N-1)/N", "what every rank gets, from all together"),
        Operation(P2P, "size / time  (factor 1)", "one message; time is half a round trip"),
        Operation(MATRIX, "size / time  (factor 1)", "one message; time is half a round trip"),
    )
}


def bus_factor(operation: str, num_ranks: int) -> float:
    """Return bus bandwidth over algorithm bandwidth.

    A ring all-reduce sends every byte twice over each link but for the share that starts there:
    2(N-1)/N. In an all-gather each rank's share passes each link once: (N-1)/N of the result.

    Raises:
        UsageError: there is no such operation.
    """
    if operation == ALLREDUCE:
        return 2 * (num_ranks - 1) / num_ranks
    if operation == ALLGATHER:
        return (num_ranks - 1) / num_ranks
    if operation in (P2P, MATRIX):
        return 1.0
    raise UsageError(
        f"nothing is known of {operation!r}", hint=f"choose one of: {', '.join(OPERATIONS)}"
    )


def rated_bytes_per_s(operation: str, rated: Rated) -> float:
    """Return the bus bandwidth that a fabric is rated for.

    A collective has rings through all links of a node at once. One rank's message takes one link.
    """
    collective = operation in (ALLREDUCE, ALLGATHER)
    return rated.link_bytes_per_s * (rated.links_per_node if collective else 1)
