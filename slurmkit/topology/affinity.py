"""The affinity planner: which cores, memory, NICs and environment each rank of a node gets. Pure.

The same topology and request always give the same plan, so every task of a node computes the whole
plan by itself and takes its own line; nobody has to agree with anybody.
"""

from slurmkit.topology.affinity_cores import Cores, cores_of_ranks, memory_of_rank
from slurmkit.topology.affinity_env import environment
from slurmkit.topology.affinity_gpus import gpus_of_ranks
from slurmkit.topology.affinity_nics import Nics, nics_of_ranks, rails
from slurmkit.topology.affinity_values import AffinityError, RankPlan, Request, check_request
from slurmkit.topology.model import Gpu, Topology

__all__ = ["AffinityError", "RankPlan", "Request", "plan_ranks", "rails"]


def plan_ranks(topology: Topology, request: Request) -> list[RankPlan]:
    """Return the plan of every rank of the node, by local rank.

    Masks lie within `Request.allowed_cpus` and the online CPUs, and are disjoint; under the policy
    none they are empty.

    Raises:
        AffinityError: no such plan exists; it names host, rank, what was expected and what found.
    """
    check_request(topology.host, request)
    gpus = gpus_of_ranks(topology, request)
    cores = cores_of_ranks(topology, request, gpus)
    nics = nics_of_ranks(topology, gpus, [rank.nodes for rank in cores])
    node = [(rank.nics, rank.distance) for rank in nics]
    plans = []
    for rank, (own_gpus, own_cores, own_nics) in enumerate(zip(gpus, cores, nics, strict=True)):
        memory_nodes = memory_of_rank(topology, request, own_cores)
        env = environment(topology, request, own_nics.nics, node, has_gpu=bool(own_gpus))
        plans.append(
            RankPlan(
                local_rank=rank,
                gpus=own_gpus,
                numa=_numa(topology, own_cores, own_gpus),
                cpus=own_cores.cpus,
                memory=request.memory if memory_nodes else "none",
                memory_nodes=memory_nodes,
                nics=own_nics.nics,
                distance=own_nics.distance,
                env=env,
                notes=_notes(own_cores, own_nics),
            )
        )
    return plans


def _numa(topology: Topology, cores: Cores, gpus: tuple[Gpu, ...]) -> int | None:
    if cores.nodes:
        return cores.nodes[0] if topology.numa else None
    return gpus[0].numa if gpus else None


def _notes(cores: Cores, nics: Nics) -> tuple[str, ...]:
    return (*cores.notes, *nics.notes)
