"""What every rank is told on its command line, and back."""

import argparse
from collections.abc import Sequence

from slurmkit.bench.formulas import MATRIX, OPERATIONS, P2P
from slurmkit.bench.sizes import parse_rated
from slurmkit.errors import UsageError
from slurmkit.record import Record


class Order(Record):
    """What to measure.

    Attributes:
        operation: ``allreduce``, ``allgather``, ``p2p`` or ``matrix``.
        sizes: sizes in bytes, ascending; the matrix is measured with the last one.
        warm_up: repetitions that are not timed, before those that are.
        repetitions: how often to time each size; None for as often as the budget allows.
        budget_s: seconds for each size, when the repetitions are not given.
        rated: the fabric's rated speed as people write it; "" to look at this node's links.
        rated_source: who said so; "" for nobody.
        backend: ``gloo`` or ``nccl``; of no meaning to MPI.
    """

    operation: str
    sizes: tuple[int, ...]
    warm_up: int = 5
    repetitions: int | None = None
    budget_s: float = 0.5
    rated: str = ""
    rated_source: str = ""
    backend: str = "gloo"

    def arguments(self) -> list[str]:
        """Return the command line that ``read_order`` reads."""
        words = [self.operation, f"--sizes={','.join(map(str, self.sizes))}"]
        words += [f"--warm-up={self.warm_up}", f"--budget={self.budget_s:g}"]
        if self.repetitions is not None:
            words.append(f"--repetitions={self.repetitions}")
        if self.rated:
            words += [f"--rated={self.rated}", f"--rated-source={self.rated_source}"]
        return [*words, f"--backend={self.backend}"]


def check_order(order: Order) -> Order:
    """Return the order if it makes sense.

    Raises:
        UsageError: it does not.
    """
    if order.operation not in OPERATIONS:
        raise UsageError(
            f"nothing is known of {order.operation!r}",
            hint=f"choose one of: {', '.join(OPERATIONS)}",
        )
    if order.repetitions is not None and order.repetitions < 1:
        raise UsageError(f"--repetitions {order.repetitions}: at least one is needed")
    if order.warm_up < 1:
        raise UsageError(
            f"--warm-up {order.warm_up}: at least one is needed",
            hint="The first message opens connections; timed, it would stand for them.",
        )
    if order.budget_s <= 0:
        raise UsageError(f"--seconds {order.budget_s:g} is no time at all")
    if order.rated:
        parse_rated(order.rated)
    return order


def check_ranks(operation: str, num_ranks: int) -> None:
    """Refuse to send messages where there is nobody to send them to.

    Raises:
        UsageError: there is one rank, and the operation needs two.
    """
    if operation in (P2P, MATRIX) and num_ranks < 2:
        raise UsageError(
            f"{operation} needs two ranks or more",
            hint="--nodes 2, --tasks-per-node 2, or --local 2",
        )


def read_order(argv: Sequence[str]) -> Order:
    """Return what the command line of a rank says.

    Raises:
        UsageError: it makes no sense.
    """
    parser = argparse.ArgumentParser(prog="slurmkit.bench", allow_abbrev=False)
    parser.add_argument("operation", choices=tuple(OPERATIONS))
    parser.add_argument("--sizes", required=True)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=None)
    parser.add_argument("--budget", type=float, default=0.5)
    parser.add_argument("--rated", default="")
    parser.add_argument("--rated-source", default="")
    parser.add_argument("--backend", choices=("gloo", "nccl"), default="gloo")
    found = parser.parse_args(list(argv))
    return check_order(
        Order(
            operation=found.operation,
            sizes=tuple(int(size) for size in found.sizes.split(",")),
            warm_up=found.warm_up,
            repetitions=found.repetitions,
            budget_s=found.budget,
            rated=found.rated,
            rated_source=found.rated_source,
            backend=found.backend,
        )
    )
