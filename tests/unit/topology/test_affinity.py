"""Plans of known machines, and each trap by name."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.topology.affinity import AffinityError, RankPlan, Request, plan_ranks
from slurmkit.topology.affinity_env import VARIABLES
from slurmkit.topology.affinity_rails import check_rails
from slurmkit.topology.cpuset import format_cpulist, parse_cpulist
from slurmkit.topology.model import Gpu, MigDevice, Nic, NumaNode, Port, Topology

Node = Callable[[str], Topology]
GOLDEN = Path(__file__).with_name("golden_plans.json")
MACHINES = [
    "b300-interleaved",
    "dgx-b200",
    "dgx-b300",
    "dgx-h100",
    "gb200",
    "hgx-h100",
    "nd-h100-v5",
    "numa-minus-one",
    "p5",
]


def eight(node: Topology, **options: object) -> list[RankPlan]:
    return plan_ranks(node, Request(num_ranks=len(node.gpus)).replace(**options))


@pytest.mark.parametrize("name", MACHINES)
def test_golden_plans(name: str, node: Node, request: pytest.FixtureRequest) -> None:
    found = json.loads(json.dumps([plan.to_json() for plan in eight(node(name))]))
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if request.config.getoption("--update-golden"):
        known[name] = found
        GOLDEN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    assert found == known[name]


def test_first_rank_of_a_dgx_h100(node: Node) -> None:
    plan = eight(node("dgx-h100"))[0].to_json()
    assert plan["gpu"] == {"index": 0, "pci": "0000:1b:00.0"}
    assert (plan["numa"], plan["cpus"]) == (0, "0-13,112-125")
    assert (plan["nics"], plan["distance"]) == (["mlx5_0"], "PIX")
    assert plan["env"]["UCX_NET_DEVICES"] == "mlx5_0:1"
    hcas = "=mlx5_0,mlx5_3,mlx5_4,mlx5_5,mlx5_6,mlx5_9,mlx5_10,mlx5_11"
    assert plan["env"]["NCCL_IB_HCA"] == hcas


def range_slices(node: Topology, num_ranks: int) -> list[frozenset[int]]:
    """The rival: ranks get ranges of cores by their number, as `bindpcie` and its kind do it."""
    cores = len(node.smt)
    per_rank = cores // num_ranks
    slices = []
    for rank in range(num_ranks):
        first = rank * per_rank
        threads = range(first, first + per_rank)
        slices.append(frozenset(threads) | frozenset(cpu + cores for cpu in threads))
    return slices


def on_wrong_socket(node: Topology, masks: list[frozenset[int]]) -> int:
    wrong = 0
    for gpu, mask in zip(node.gpus, masks, strict=True):
        home = node.numa_node(gpu.numa)
        assert home
        wrong += not mask <= home.cpus
    return wrong


def test_slices_of_ranges_fail_where_ids_are_interleaved(node: Node) -> None:
    plain, interleaved = node("dgx-h100"), node("b300-interleaved")
    assert on_wrong_socket(plain, range_slices(plain, 8)) == 0
    assert on_wrong_socket(interleaved, range_slices(interleaved, 8)) == 8
    for machine in (plain, interleaved):
        assert on_wrong_socket(machine, [plan.cpus for plan in eight(machine)]) == 0


def test_thousand_permutations_of_visible_gpus(node: Node) -> None:
    machine = node("dgx-h100")
    gpus = tuple(gpu.replace(uuid=f"GPU-{gpu.index:08x}-aaaa") for gpu in machine.gpus)
    machine = machine.replace(gpus=gpus)
    nic_of = {plan.gpus[0].index: plan.nics for plan in eight(machine)}
    chosen = random.Random(4)
    for _ in range(1000):
        order = chosen.sample(range(8), chosen.randint(1, 8))
        tokens = tuple(
            chosen.choice((str(i), gpus[i].uuid, gpus[i].uuid[:12], f" {i}")) for i in order
        )
        plans = plan_ranks(machine, Request(num_ranks=len(order), gpus_visible=tokens))
        assert [plan.gpus[0].index for plan in plans] == order
        assert on_right_socket(machine, plans)
        assert [plan.nics for plan in plans] == [nic_of[index] for index in order]


def on_right_socket(machine: Topology, plans: list[RankPlan]) -> bool:
    homes = [machine.numa_node(plan.gpus[0].numa) for plan in plans]
    return all(home and p.cpus <= home.cpus for home, p in zip(homes, plans, strict=True))


def small(**changes: object) -> Topology:
    """Two NUMA nodes of four cores with two threads; a GPU and a NIC on each, two GPUs on one."""
    smt = tuple((cpu, cpu + 8) for cpu in range(8))
    numa = (
        NumaNode(0, parse_cpulist("0-3,8-11"), 1000, (10, 20)),
        NumaNode(1, parse_cpulist("4-7,12-15"), 1000, (20, 10)),
    )
    gpus = (
        Gpu(0, "0000:10:00.0", 0, ("pci0000:0f", "s0"), uuid="GPU-aa11"),
        Gpu(1, "0000:20:00.0", 0, ("pci0000:1f", "s1"), uuid="GPU-aa22"),
        Gpu(2, "0000:30:00.0", 1, ("pci0000:2f", "s2"), uuid="GPU-bb33"),
    )
    port = Port(1, "ACTIVE", 400.0, "InfiniBand")
    nics = (
        Nic("mlx5_0", "0000:11:00.0", 0, ("pci0000:0f", "s0"), (port,), role="compute"),
        Nic("mlx5_1", "0000:21:00.0", 0, ("pci0000:1f", "s1"), (port,), role="compute"),
        Nic("mlx5_2", "0000:31:00.0", 1, ("pci0000:2f", "s2"), (port,), role="management"),
        Nic("mlx5_10", "0000:32:00.0", 1, ("pci0000:2e", "s3"), (port,), role="compute"),
    )
    return Topology("n1", "json", parse_cpulist("0-15"), smt, numa, gpus, nics).replace(**changes)


def masks(plans: list[RankPlan]) -> list[str]:
    return [format_cpulist(plan.cpus) for plan in plans]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["0-1,8-9", "2-3,10-11", "4-7,12-15"]),
        ({"smt": "avoid"}, ["0-1", "2-3", "4-7"]),
        ({"reserved_cores": 1}, ["1-2,9-10", "3,11", "5-7,13-15"]),
        ({"allowed_cpus": parse_cpulist("2-5")}, ["2", "3", "4-5"]),
        ({"allowed_cpus": parse_cpulist("8-15")}, ["8-9", "10-11", "12-15"]),
        ({"gpus_visible": ("2", "0", "1")}, ["4-7,12-15", "0-1,8-9", "2-3,10-11"]),
        ({"num_ranks": 1, "gpus_per_rank": 3}, ["0-15"]),
        ({"policy": "none"}, ["", "", ""]),
        ({"policy": "spread"}, ["0-1,8-9", "4-7,12-15", "2-3,10-11"]),
        ({"num_ranks": 1, "gpus_visible": ()}, ["0-15"]),
        ({"num_ranks": 2, "gpus_visible": ("NoDevFiles",)}, ["0-3,8-11", "4-7,12-15"]),
        ({"num_ranks": 3, "gpus_visible": ("",)}, ["0-1,8-9", "2-3,10-11", "4-7,12-15"]),
    ],
)
def test_cores(asked: dict[str, object], expected: list[str]) -> None:
    assert masks(plan_ranks(small(), Request(num_ranks=3).replace(**asked))) == expected


def test_ranks_that_share_gpus_are_counted_modulo() -> None:
    plans = plan_ranks(small(), Request(num_ranks=6, ranks_per_gpu=2))
    assert [plan.gpus[0].index for plan in plans] == [0, 1, 2, 0, 1, 2]
    assert masks(plans) == ["0,8", "1,9", "4-5,12-13", "2,10", "3,11", "6-7,14-15"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"num_ranks": 4}, ["n1", "local rank 3", "4 GPUs for 4 ranks", "3 visible"]),
        (
            {"allowed_cpus": parse_cpulist("0-3")},
            ["n1", "local rank 2", "NUMA node 1 (CPUs 4-7,12-15)", "CPUs 0-3"],
        ),
        (
            {"allowed_cpus": parse_cpulist("3-7")},
            ["n1", "local rank 1", "NUMA node 0", "1 (CPUs 3)"],
        ),
        ({"allowed_cpus": frozenset()}, ["n1", "local rank 0", "CPUs none"]),
        ({"reserved_cores": 3}, ["n1", "local rank 1", "3 cores of each NUMA node being reserved"]),
        ({"gpus_visible": ("0", "7", "1")}, ["n1", "3 GPUs", "0,7,1"]),
        ({"gpus_visible": ("0", "0", "1")}, ["every GPU once", "0,0,1"]),
        ({"gpus_visible": ("GPU-aa",), "num_ranks": 1}, ["one GPU for 'GPU-aa'", "found 2"]),
        ({"gpus_visible": ("0", "GPU-aa11"), "num_ranks": 2}, ["every GPU once"]),
        ({"gpus_visible": ("MIG-1",), "num_ranks": 1}, ["knows no MIG devices", "nvidia-ml-py"]),
        ({"gpus_visible": ("GPU-zz",), "num_ranks": 1}, ["one GPU for 'GPU-zz'"]),
        (
            {"gpus_visible": ("1",), "gpus_allowed": (1, 2), "num_ranks": 1},
            ["means one set", "Slurm gave GPUs 1,2", "UUID"],
        ),
        ({"policy": "close"}, ["policy", "nearest, spread, none", "'close'"]),
        ({"num_ranks": 0}, ["num_ranks of 1 or more"]),
        ({"memory": "bind", "allowed_mems": frozenset({7})}, ["memory of NUMA node", "nodes 7"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(asked: dict[str, object], words: list[str]) -> None:
    with pytest.raises(AffinityError) as caught:
        plan_ranks(small(), Request(num_ranks=3).replace(**asked))
    assert "\n" not in caught.value.message
    assert [word for word in words if word not in str(caught.value)] == []


def test_numbers_of_a_device_cgroup_are_mapped_through_what_slurm_gave() -> None:
    def first_gpu(visible: tuple[str, ...], given: tuple[int, ...], node: Topology) -> int:
        request = Request(num_ranks=1, gpus_visible=visible, gpus_allowed=given)
        return plan_ranks(node, request)[0].gpus[0].index

    node = small()
    assert first_gpu(("0",), (2,), node) == 2  # renumbered from 0
    assert first_gpu(("2",), (2,), node) == 2  # not renumbered
    assert first_gpu(("0",), (0, 1), node) == 0  # the same either way
    # Device files that are not in PCI order: Slurm counts those.
    minors = tuple(g.replace(minor=m) for g, m in zip(node.gpus, (2, 1, 0), strict=True))
    assert first_gpu(("0",), (2,), node.replace(gpus=minors)) == 0


def test_mig_devices_stand_for_their_gpu() -> None:
    node = small()
    mig = (MigDevice("MIG-1111", "3g.40gb"), MigDevice("MIG-2222", "3g.40gb"))
    node = node.replace(gpus=(*node.gpus[:2], node.gpus[2].replace(mig=mig)))
    request = Request(num_ranks=2, gpus_visible=("MIG-2222", "MIG-1111"))
    plans = plan_ranks(node, request)
    assert [plan.gpus[0].index for plan in plans] == [2, 2]
    assert masks(plans) == ["4-5,12-13", "6-7,14-15"]
    old = Request(num_ranks=1, gpus_visible=("MIG-GPU-bb33/1/0",))
    assert plan_ranks(node, old)[0].gpus[0].index == 2


def test_management_hca_is_left_out_although_it_is_nearest() -> None:
    plan = plan_ranks(small(), Request(num_ranks=3))[2]
    assert [nic.name for nic in plan.nics] == ["mlx5_10"]
    assert plan.distance == "NODE"
    assert plan.env["NCCL_IB_HCA"] == "=mlx5_0,mlx5_1,mlx5_10"
    assert "NCCL_NET_GDR_LEVEL" not in plan.env


def test_dead_port_is_left_out_and_said() -> None:
    node = small()
    down = node.nics[0].replace(ports=(Port(1, "DOWN"),))
    plans = plan_ranks(node.replace(nics=(down, *node.nics[1:])), Request(num_ranks=3))
    assert all("mlx5_0" not in plan.env["NCCL_IB_HCA"].split(",") for plan in plans)
    assert "mlx5_0" in plans[0].notes[0]
    assert not plans[1].notes


def test_ports_rails_and_versions_of_nccl() -> None:
    node = small()
    two = (Port(1, "DOWN"), Port(2, "ACTIVE"))
    node = node.replace(nics=(node.nics[0].replace(ports=two), *node.nics[1:]))

    def hcas(**asked: object) -> str:
        return plan_ranks(node, Request(num_ranks=3).replace(**asked))[0].env["NCCL_IB_HCA"]

    plain = "=mlx5_0:2,mlx5_1,mlx5_10"
    assert hcas() == plain
    assert hcas(cross_node="rails") == plain
    assert hcas(cross_node="rails", nccl_version=(2, 30, 4)) == plain
    numbered = "=mlx5_0:2:0:0,mlx5_1::1:0,mlx5_10::2:0"
    assert hcas(cross_node="rails", nccl_version=(2, 30, 7)) == numbered
    assert hcas(cross_node="flat", nccl_version=(2, 31)) == plain


def test_every_variable_has_its_reason() -> None:
    asked = {"cross_node": "rails", "socket_interfaces": ("eth0",)}
    near = small(gpus=small().gpus[:2])
    env = plan_ranks(near, Request(num_ranks=2).replace(**asked))[0].env
    assert env == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "NCCL_IB_HCA": "=mlx5_0,mlx5_1",
        "NCCL_NET_GDR_LEVEL": "PXB",
        "NCCL_CROSS_NIC": "0",
        "NCCL_SOCKET_IFNAME": "=eth0",
        "UCX_NET_DEVICES": "mlx5_0:1",
        "GLOO_SOCKET_IFNAME": "eth0",
        "OMPI_MCA_btl_openib_if_include": "mlx5_0:1",
        "OMPI_MCA_btl_tcp_if_include": "eth0",
    }
    assert set(env) == set(VARIABLES)


def test_gpus_behind_one_switch_share_its_nics_in_pci_order() -> None:
    node = small()
    same = ("pci0000:0f", "s0")
    gpus = tuple(gpu.replace(path=same) for gpu in node.gpus[:2])
    nics = tuple(nic.replace(path=same) for nic in node.nics[:2])
    plans = plan_ranks(node.replace(gpus=gpus, nics=nics), Request(num_ranks=2))
    assert [[nic.name for nic in plan.nics] for plan in plans] == [["mlx5_0"], ["mlx5_1"]]


def test_rails_by_place_not_by_name() -> None:
    here = small()
    renamed = tuple(
        nic.replace(name=f"mlx5_{number}")
        for nic, number in zip(here.nics, (7, 3, 0, 1), strict=True)
    )
    there = here.replace(host="n2", nics=renamed)
    request = Request(num_ranks=3)
    check_rails([(node, plan_ranks(node, request)) for node in (here, there)])
    swapped = plan_ranks(there, request.replace(gpus_visible=("1", "0", "2")))
    with pytest.raises(AffinityError, match=r"n1 and n2: local rank 0: .*mlx5_0 on rail 0 on n1"):
        check_rails([(here, plan_ranks(here, request)), (there, swapped)])
    wiring = {"n2": {"mlx5_7": 5, "mlx5_3": 1, "mlx5_1": 2}}
    with pytest.raises(AffinityError, match="mlx5_7 on rail 5 on n2"):
        check_rails([(node, plan_ranks(node, request)) for node in (here, there)], wiring)


def test_unknown_numa_node_is_said_and_known_ones_are_kept() -> None:
    node = small()
    lost = node.replace(gpus=(*node.gpus[:2], node.gpus[2].replace(numa=None)))
    plans = plan_ranks(lost, Request(num_ranks=3))
    assert masks(plans) == ["0-1,8-9", "2-3,10-11", "4-7,12-15"]
    assert "unknown" in plans[2].notes[0]
    assert not plans[0].notes


def test_ranks_without_gpus_stay_compact() -> None:
    node = small(gpus=())
    for num_ranks in range(1, 9):
        plans = plan_ranks(node, Request(num_ranks=num_ranks))
        homes = [n.cpus for n in node.numa]
        if num_ranks > 1:
            assert all(any(plan.cpus <= home for home in homes) for plan in plans)
        assert frozenset().union(*(plan.cpus for plan in plans)) == node.cpus_online
    with pytest.raises(AffinityError, match="local rank"):
        plan_ranks(node, Request(num_ranks=9))
