"""What a measurement is told and what it yields; rank 0 writes the result as JSON."""

from dataclasses import dataclass, field, replace
from typing import Any

#: Of the result's JSON; a reader refuses one that it does not know.
FORMAT = 1
RESULT_NAME = "bench.json"


@dataclass(frozen=True)
class Times:
    """Times over all repetitions, seconds; OSU's benchmarks tell no more than mean, min and max."""

    mean_s: float
    min_s: float | None = None
    median_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None

    @property
    def typical_s(self) -> float:
        """The median, or the mean where that is all there is."""
        return self.mean_s if self.median_s is None else self.median_s


@dataclass(frozen=True)
class Row:
    """One size.

    Attributes:
        size_bytes: what was sent; it is rounded up to whole numbers for every rank.
        repetitions: how often it was timed; each result was compared with the right one. 0 where
            OSU's benchmark does not tell.
        times: how long it took.
        algorithm_bytes_per_s: size over median time (of OSU over mean time).
        bus_bytes_per_s: the same times the operation's factor.
        of_rated: bus bandwidth over the fabric's rated one; null when that is not known.
    """

    size_bytes: int
    repetitions: int
    times: Times
    algorithm_bytes_per_s: float
    bus_bytes_per_s: float
    of_rated: float | None = None

    def compared(self, rated_bytes_per_s: float | None) -> "Row":
        """Return the row with its share of what the fabric is rated for, if that is known."""
        share = self.bus_bytes_per_s / rated_bytes_per_s if rated_bytes_per_s else None
        return replace(self, of_rated=share)


@dataclass(frozen=True)
class Pair:
    """What two nodes sent each other over one rail.

    Attributes:
        first: name of one node, or of one rank where all are on one node.
        second: name of the other.
        rail: number of the ranks on their nodes; rank k of a node talks to rank k of the other.
        bytes_per_s: bandwidth of one direction at a time.
        latency_s: half a round trip of 8 bytes.
    """

    first: str
    second: str
    rail: int
    bytes_per_s: float
    latency_s: float


@dataclass(frozen=True)
class Finding:
    """What stands out.

    Attributes:
        kind: ``node``, ``rail`` (of all nodes), ``node-rail`` (of one node), ``pair`` or ``all``.
        name: what is slow, such as ``node3``, ``rail 2`` or ``node1 - node2``.
        bytes_per_s: its bandwidth.
        expected_bytes_per_s: what its like have.
        message: one sentence for people.
    """

    kind: str
    name: str
    bytes_per_s: float
    expected_bytes_per_s: float
    message: str


@dataclass(frozen=True)
class Rated:
    """What the fabric is rated for.

    Attributes:
        link_bytes_per_s: one direction of one link.
        links_per_node: links of each node that carry this traffic.
        source: where this was learnt.
    """

    link_bytes_per_s: float
    links_per_node: int
    source: str


@dataclass(frozen=True)
class BenchResult:
    """What `slurmkit bench` found out.

    Attributes:
        operation: ``allreduce``, ``allgather``, ``p2p`` or ``matrix``.
        via: ``gloo``, ``nccl``, ``mpi`` or ``osu``.
        library: what really sent the bytes, with its version.
        device: ``cpu`` or ``cuda``.
        world_size: number of ranks.
        hosts: the nodes, in the order of their ranks.
        formula: how bus bandwidth follows from time.
        size_means: what ``size_bytes`` counts.
        rows: one per size; of ``matrix`` none.
        pairs: every pair of nodes and rail; of ``matrix`` only.
        findings: what stands out; empty when nothing does.
        rated: what the fabric is rated for; null when not known or not used.
        run_dir: where the measurement keeps its files.
    """

    operation: str
    via: str
    library: str
    device: str
    world_size: int
    hosts: list[str]
    formula: str
    size_means: str
    rows: list[Row] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    rated: Rated | None = None
    run_dir: str = ""
    format: int = FORMAT


def result_from_json(data: dict[str, Any]) -> BenchResult:
    """Return the result that rank 0 wrote.

    Raises:
        KeyError, TypeError: it is not of this format.
    """
    if data.get("format") != FORMAT:
        raise KeyError("format")
    return BenchResult(
        **{
            **data,
            "rows": [Row(**{**row, "times": Times(**row["times"])}) for row in data["rows"]],
            "pairs": [Pair(**pair) for pair in data["pairs"]],
            "findings": [Finding(**finding) for finding in data["findings"]],
            "rated": Rated(**data["rated"]) if data.get("rated") else None,
        }
    )
