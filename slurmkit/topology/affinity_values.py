"""What the affinity planner is asked, what it answers, and how it refuses."""

from slurmkit.errors import SlurmkitError
from slurmkit.record import Record
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.model import Gpu, Nic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POLICIES = ("nearest", "spread", "none")
SMT = ("use", "avoid")
MEMORY = ("local", "bind", "interleave", "none")
CROSS_NODE = ("", "rails", "flat")


class AffinityError(SlurmkitError):
    """No plan keeps all that was asked for, or two nodes' plans do not fit together.

    Attributes:
        who: the host or hosts, and the local rank where it is about one.
        expected: what the rules ask for.
        found: what there is.
    """

    def __init__(
        self,
        who: str,
        expected: str,
        found: str,
        *,
        local_rank: int | None = None,
        hint: str = "",
    ) -> None:
        who = who if local_rank is None else f"{who}: local rank {local_rank}"
        super().__init__(f"affinity: {who}: expected {expected}, found {found}", hint=hint)
        self.who = who
        self.expected = expected
        self.found = found


class Request(Record):
    """What ranks a node is to run, and under which rules.

    Attributes:
        num_ranks: ranks on this node.
        allowed_cpus: CPUs that the step may use; None for all that are online.
        allowed_mems: NUMA nodes that the step may allocate from; None for all.
        policy: nearest (to the rank's GPU), spread (over all NUMA nodes in turn), none (no binding;
            NICs and environment all the same).
        smt: use gives a rank all threads of its cores; avoid gives it one thread of each.
        reserved_cores: the first cores of every NUMA node that no rank gets.
        gpus_visible: the tokens of CUDA_VISIBLE_DEVICES; None when it is not set.
        gpus_allowed: numbers of the GPUs that Slurm gave the step (SLURM_STEP_GPUS), which tell
            what tokens count where a device cgroup renumbers them; None when unknown.
        gpus_per_rank: GPUs of each rank: rank i has the visible ones from i * gpus_per_rank on.
        ranks_per_gpu: ranks that share a GPU: of V visible GPUs rank i uses number i modulo V.
        memory: local prefers the rank's NUMA node, bind allows no other, interleave spreads pages
            over the rank's nodes, none leaves the policy alone.
        nccl_version: such as (2, 30, 7); None when unknown.
        cross_node: rails when each NIC of a node has a network of its own, flat when all meet in
            one, "" when unknown.
        socket_interfaces: network interfaces for connections by TCP; () leaves the choice alone.
    """

    num_ranks: int
    allowed_cpus: frozenset[int] | None = None
    allowed_mems: frozenset[int] | None = None
    policy: str = "nearest"
    smt: str = "use"
    reserved_cores: int = 0
    gpus_visible: tuple[str, ...] | None = None
    gpus_allowed: tuple[int, ...] | None = None
    gpus_per_rank: int = 1
    ranks_per_gpu: int = 1
    memory: str = "local"
    nccl_version: tuple[int, ...] | None = None
    cross_node: str = ""
    socket_interfaces: tuple[str, ...] = ()


class RankPlan(Record):
    """Where one rank runs.

    Attributes:
        local_rank: its number on the node.
        gpus: its GPUs, the first that it uses first; () without GPUs.
        numa: the NUMA node of its cores, or of its first GPU under the policy none; None when the
            cores lie on none that is known.
        cpus: its CPU mask; empty when it is not bound.
        memory: local, bind, interleave or none.
        memory_nodes: the NUMA nodes of the memory policy.
        nics: its NICs, nearest first, equals in PCI order.
        distance: the class of its farthest GPU-NIC pair, PIX to SYS; "" without such a pair.
        env: variables by name; see `affinity_env.VARIABLES`.
        notes: what is not as good as the policy promises, one sentence each.
    """

    local_rank: int
    gpus: tuple[Gpu, ...]
    numa: int | None
    cpus: frozenset[int]
    memory: str
    memory_nodes: tuple[int, ...]
    nics: tuple[Nic, ...]
    distance: str
    env: dict[str, str]
    notes: tuple[str, ...] = ()

    def to_json(self) -> "dict[str, Any]":
        """Return the plan as plain values; ``gpu`` is the first of ``gpus``, or None."""
        gpus = [{"index": gpu.index, "pci": gpu.pci} for gpu in self.gpus]
        return {
            "local_rank": self.local_rank,
            "gpu": gpus[0] if gpus else None,
            "gpus": gpus,
            "numa": self.numa,
            "cpus": format_cpulist(self.cpus),
            "memory": self.memory,
            "memory_nodes": list(self.memory_nodes),
            "nics": [nic.name for nic in self.nics],
            "distance": self.distance,
            "env": dict(self.env),
            "notes": list(self.notes),
        }


def infeasible(
    host: str, rank: int | None, expected: str, found: str, hint: str = ""
) -> AffinityError:
    """Return the error in the one form that all refusals have."""
    return AffinityError(host, expected, found, local_rank=rank, hint=hint)


def check_request(host: str, request: Request) -> None:
    """Refuse values that mean nothing.

    Raises:
        AffinityError: naming the value and what is known.
    """
    for name, choices in (
        ("policy", POLICIES),
        ("smt", SMT),
        ("memory", MEMORY),
        ("cross_node", CROSS_NODE),
    ):
        value = getattr(request, name)
        if value not in choices:
            known = ", ".join(choice or "''" for choice in choices)
            raise infeasible(host, None, f"{name} to be one of {known}", repr(value))
    for name, least in (
        ("num_ranks", 1),
        ("gpus_per_rank", 1),
        ("ranks_per_gpu", 1),
        ("reserved_cores", 0),
    ):
        value = getattr(request, name)
        if value < least:
            raise infeasible(host, None, f"{name} of {least} or more", str(value))
    if request.gpus_per_rank > 1 and request.ranks_per_gpu > 1:
        raise infeasible(
            host,
            None,
            "several GPUs per rank or several ranks per GPU",
            f"gpus_per_rank {request.gpus_per_rank} and ranks_per_gpu {request.ranks_per_gpu}",
        )
