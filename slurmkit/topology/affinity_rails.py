"""Whether the NICs of local rank i are on the same rails on all nodes. Pure.

A rail is the network that connects the k-th NIC of all nodes. Each node says in a few lines of text
which rails its ranks are on, and somebody who has the lines of all nodes compares them.
"""

from slurmkit.record import Record
from slurmkit.topology.affinity_nics import rails
from slurmkit.topology.affinity_values import RankPlan, infeasible
from slurmkit.topology.model import Topology

_HINT = "Compare CUDA_VISIBLE_DEVICES and the states of the ports on both hosts."


class NodeRails(Record):
    """The rails of one node's ranks.

    Attributes:
        host: its name.
        ranks: NICs and their rails by local rank; None for a rank without a GPU, whose NICs follow
            from its cores and need not match.
    """

    host: str
    ranks: "tuple[tuple[tuple[str, int], ...] | None, ...]"

    def to_text(self) -> str:
        """Return the lines: the host, then ``NIC:RAIL,...`` for each local rank."""
        return "\n".join([self.host, *(_line(rank) for rank in self.ranks)]) + "\n"


def from_text(text: str) -> NodeRails:
    """Return what `NodeRails.to_text` wrote.

    Raises:
        ValueError: these are no such lines.
    """
    host, *lines = text.splitlines()
    return NodeRails(host, tuple(_rank(line) for line in lines))


def node_rails(
    topology: Topology,
    plans: "Sequence[RankPlan]",
    wiring: "Mapping[str, int] | None" = None,
) -> NodeRails:
    """Return the rails of a node's ranks.

    Args:
        topology: the node.
        plans: its plan.
        wiring: rails by NIC where the site knows them; else they follow the order of the GPUs.
    """
    known = wiring or {name: rail for name, (rail, _) in rails(topology).items()}
    return NodeRails(
        topology.host,
        tuple(
            tuple((nic.name, known.get(nic.name, -1)) for nic in plan.nics) if plan.gpus else None
            for plan in plans
        ),
    )


def compare_rails(nodes: "Sequence[NodeRails]") -> None:
    """Check that local rank i has its NICs on the same rails on all nodes.

    Names do not matter: mlx5_3 of one node may face mlx5_4 of another.

    Raises:
        AffinityError: two nodes differ; it names both, the rank, and the NICs.
    """
    first = nodes[0]
    for other in nodes[1:]:
        for rank, (here, there) in enumerate(zip(first.ranks, other.ranks, strict=False)):
            if here is None or there is None:
                continue
            if [rail for _, rail in here] != [rail for _, rail in there]:
                raise infeasible(
                    f"{first.host} and {other.host}",
                    rank,
                    f"NICs on the same rails on both hosts ({_words(here)} on {first.host})",
                    f"{_words(there)} on {other.host}",
                    _HINT,
                )


def check_rails(
    nodes: "Sequence[tuple[Topology, Sequence[RankPlan]]]",
    wiring: "Mapping[str, Mapping[str, int]] | None" = None,
) -> None:
    """Check the same for nodes whose plans are at hand.

    Args:
        nodes: every node with its plan.
        wiring: rails by host and NIC where the site knows them.

    Raises:
        AffinityError: two nodes differ.
    """
    known = wiring or {}
    compare_rails(
        [node_rails(topology, plans, known.get(topology.host)) for topology, plans in nodes]
    )


def _line(rank: "tuple[tuple[str, int], ...] | None") -> str:
    if rank is None:
        return "-"
    return ",".join(f"{name}:{rail}" for name, rail in rank)


def _rank(line: str) -> "tuple[tuple[str, int], ...] | None":
    if line == "-":
        return None
    pairs = (part.rpartition(":") for part in line.split(",") if part)
    return tuple((name, int(rail)) for name, _, rail in pairs)


def _words(rank: "tuple[tuple[str, int], ...]") -> str:
    return ", ".join(f"{name} on rail {rail}" for name, rail in rank) or "no NIC"


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
