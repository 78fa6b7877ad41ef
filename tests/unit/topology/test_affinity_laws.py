"""What holds for every plan, on random nodes."""

import runpy
from pathlib import Path
from types import SimpleNamespace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmkit.topology.affinity import AffinityError, RankPlan, Request, plan_ranks
from slurmkit.topology.model import Topology

_random = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("random_nodes.py"))))
_COUNT = 10_000


def test_laws_of_plans() -> None:
    planned = {"plans": 0, "refused": 0}

    @settings(
        max_examples=_COUNT,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**40))
    def law(seed: int) -> None:
        node = _random.random_node(seed)
        request = _random.random_request(seed, node)
        plans = plan_or_refusal(node, request)
        if isinstance(plans, AffinityError):
            planned["refused"] += 1
            assert node.host in plans.message
            assert "expected" in plans.message
            assert "found" in plans.message
            assert infeasible(node, request), plans
            return
        planned["plans"] += 1
        assert plans == plan_ranks(node, request)  # deterministic
        assert [plan.local_rank for plan in plans] == list(range(request.num_ranks))
        check_masks(node, request, plans)
        check_devices(node, plans)

    law()
    assert planned["plans"] > _COUNT / 5
    assert planned["refused"] > _COUNT / 20


def plan_or_refusal(node: Topology, request: Request) -> list[RankPlan] | AffinityError:
    try:
        return plan_ranks(node, request)
    except AffinityError as error:
        return error


def check_masks(node: Topology, request: Request, plans: list[RankPlan]) -> None:
    allowed = node.cpus_online
    if request.allowed_cpus is not None:
        allowed &= request.allowed_cpus
    seen: set[int] = set()
    for plan in plans:
        assert plan.cpus <= allowed
        assert not plan.cpus & seen
        seen |= plan.cpus
        assert bool(plan.cpus) == (request.policy != "none")
        for group in node.smt:
            mine = plan.cpus & set(group)
            if request.smt == "avoid":
                assert len(mine) <= 1
            elif mine:  # the threads of a core stay together
                numa = next((n.cpus for n in node.numa if n.cpus & mine), node.cpus_online)
                assert mine == allowed & set(group) & numa
        if request.policy == "nearest" and plan.gpus and node.numa:
            homes = [node.numa_node(gpu.numa) for gpu in plan.gpus]
            if all(home and home.cpus for home in homes):
                assert plan.cpus <= {cpu for home in homes if home for cpu in home.cpus}
    for numa in node.numa:  # evenly: counts of cores on one node differ by one at most
        counts = [
            len({node.siblings(cpu) for cpu in plan.cpus & numa.cpus})
            for plan in plans
            if plan.cpus & numa.cpus
        ]
        assert not counts or max(counts) - min(counts) <= 1


def check_devices(node: Topology, plans: list[RankPlan]) -> None:
    forbidden = {nic.name for nic in node.nics if nic.role != "compute" or not nic.active}
    for plan in plans:
        assert not forbidden & {nic.name for nic in plan.nics}
        hcas = plan.env.get("NCCL_IB_HCA", "=")
        assert hcas.startswith("=")
        named = {entry.partition(":")[0] for entry in hcas[1:].split(",")}
        assert not forbidden & named
        verbs = {nic.name for nic in plan.nics if nic.provider != "efa"}
        assert verbs <= named
        devices = plan.env.get("UCX_NET_DEVICES", "")
        assert {entry.partition(":")[0] for entry in devices.split(",") if entry} == verbs
        assert plan.env.get("NCCL_IB_HCA") == plans[0].env.get("NCCL_IB_HCA")
        nodes = {numa.index for numa in node.numa if numa.cpus}
        assert set(plan.memory_nodes) <= nodes


def infeasible(node: Topology, request: Request) -> bool:
    """Whether there is a reason that no plan can be, found by counting alone."""
    if node.gpus:
        if request.ranks_per_gpu > 1:
            wanted = -(-request.num_ranks // request.ranks_per_gpu)
        else:
            wanted = request.num_ranks * request.gpus_per_rank
        if wanted > len(node.gpus):
            return True
    if request.policy == "none":
        return False
    allowed = node.cpus_online
    if request.allowed_cpus is not None:
        allowed &= request.allowed_cpus
    free = []
    for numa in node.numa or (None,):
        cpus = node.cpus_online if numa is None else numa.cpus
        cores = sorted({node.siblings(cpu) for cpu in cpus & node.cpus_online})
        free.append(sum(1 for c in cores[request.reserved_cores :] if set(c) & allowed & cpus))
    if sum(free) < request.num_ranks:
        return True
    # Some NUMA node has less than one core for each rank: with another choice of cores the plan
    # would put ranks where their GPUs are not.
    return min(free) < request.num_ranks
