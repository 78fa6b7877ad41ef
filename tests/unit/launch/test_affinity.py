"""exec binds this very process tree: masks, memory policy, environment, refusals."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmkit.launch.affinity import plan_task, plan_within_mask
from slurmkit.launch.binding import step_cpus
from slurmkit.launch.interface import interface_to
from slurmkit.launch.variables import Placement
from slurmkit.topology.affinity import AffinityError, Request
from slurmkit.topology.cpuset import parse_cpulist
from slurmkit.topology.discover import discover
from slurmkit.topology.export_json import to_json
from slurmkit.topology.model import Gpu, Nic, NumaNode, Topology

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
CPUS = sorted(os.sched_getaffinity(0))
_REPORT = """
import json, os
maps = "/proc/self/numa_maps"
policy = open(maps).readline().split()[1] if os.path.exists(maps) else ""
found = {"cpus": sorted(os.sched_getaffinity(0)), "policy": policy, "env": dict(os.environ)}
print(json.dumps(found))
"""


@pytest.fixture(autouse=True)
def _own_mask() -> Iterator[None]:
    yield
    os.sched_setaffinity(0, CPUS)


needs_two_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")


def machine(cpus: list[int] | None = None) -> Topology:
    """A node with this machine's CPUs as cores of its memory node 0, and two GPUs and NICs."""
    mine = frozenset(CPUS[:2] if cpus is None else cpus)
    memory = discover().numa[0].index if discover().numa else 0
    gpus = (Gpu(0, "0000:10:00.0", memory, ("a",)), Gpu(1, "0000:20:00.0", memory, ("b",)))
    nics = tuple(
        Nic(f"mlx5_{n}", f"0000:{n + 1}1:00.0", memory, (path,), role="compute")
        for n, path in enumerate("ab")
    )
    numa = (NumaNode(memory, mine, 1000),)
    return Topology("elsewhere", "json", mine, tuple((c,) for c in sorted(mine)), numa, gpus, nics)


def task(rank: int, num_ranks: int = 2, **env: str) -> dict[str, str]:
    place = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODEID": 0, "SLURM_JOB_ID": 7}
    place |= {"SLURM_STEP_ID": 0, "SLURM_STEP_NUM_TASKS": num_ranks, "SLURM_STEP_NUM_NODES": 1}
    place |= {"SLURM_STEP_TASKS_PER_NODE": num_ranks, "MASTER_PORT": 17000}
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "CUDA", "NCCL"))}
    clean |= {"MASTER_ADDR": "node1", "SLURMD_NODENAME": "node1", "CUDA_VISIBLE_DEVICES": "0,1"}
    return clean | {name: str(value) for name, value in place.items()} | env


def start(
    tmp_path: Path, node: Topology, rank: int, num_ranks: int = 2, *options: str, **env: str
) -> "subprocess.CompletedProcess[str]":
    path = tmp_path / "node.json"
    path.write_text(json.dumps(to_json(node)))
    return subprocess.run(
        [SLURMKIT, "exec", *options, "--", sys.executable, "-c", _REPORT],
        env=task(rank, num_ranks, SLURMKIT_TOPOLOGY=str(path), **env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def report(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@needs_two_cpus
@pytest.mark.parametrize("mode", ["warn", "strict"])
def test_each_rank_runs_where_the_plan_says(tmp_path: Path, mode: str) -> None:
    for rank in range(2):
        done = start(tmp_path, machine(), rank, SLURMKIT_AFFINITY=mode)
        found = report(done)
        assert done.stderr == ""
        assert found["cpus"] == [CPUS[rank]]
        assert found["policy"] in ("prefer:0", "")
        assert found["env"]["NCCL_IB_HCA"] == "=mlx5_0,mlx5_1"
        assert found["env"]["UCX_NET_DEVICES"] == f"mlx5_{rank}:1"


def test_off_and_unset_change_nothing(tmp_path: Path) -> None:
    for env in ({}, {"SLURMKIT_AFFINITY": "off"}):
        found = report(start(tmp_path, machine(), 0, **env))
        assert found["cpus"] == CPUS
        assert "NCCL_IB_HCA" not in found["env"]


def test_strict_ends_in_one_line_before_the_program(tmp_path: Path) -> None:
    far = machine([4000, 4001])
    done = start(tmp_path, far, 0, SLURMKIT_AFFINITY="strict")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    said = "slurmkit: error: affinity: node1: rank 0 (local rank 0): expected CPUs of 4000-4001"
    assert done.stderr.startswith(said)
    assert "found" in done.stderr
    other = start(tmp_path, far, 1, SLURMKIT_AFFINITY="strict")
    assert (other.returncode, other.stdout, other.stderr) == (1, "", "")


@needs_two_cpus
def test_a_mask_of_its_own_that_is_wrong_is_told_by_that_rank(tmp_path: Path) -> None:
    """The plugin has bound ranks one by one: what is wrong with rank 1, rank 0 does not know."""
    node = machine()
    sides = tuple(NumaNode(side, frozenset({CPUS[side]}), 1000, (10, 20)) for side in (0, 1))
    far = node.replace(numa=sides, gpus=(node.gpus[0], node.gpus[1].replace(numa=1)))
    os.sched_setaffinity(0, CPUS[:1])
    for rank, code in ((0, 0), (1, 1)):
        env = {"SLURMKIT_AFFINITY": "strict", "SLURMKIT_SPANK": f"0.1.0@7.0.{rank} bound"}
        done = start(tmp_path, far, rank, **env)
        assert done.returncode == code, done.stderr
    assert "node1: rank 1 (local rank 1): expected cores of NUMA node 1" in done.stderr
    # Of a plan for all ranks, the first rank of the node says which one is the matter.
    os.sched_setaffinity(0, CPUS)
    far = far.replace(cpus_online=frozenset(CPUS[:1]))
    done = start(tmp_path, far, 0, SLURMKIT_AFFINITY="strict")
    assert "error: affinity: node1: local rank 1: expected cores of NUMA node 1" in done.stderr


def test_warn_says_it_once_per_node_and_leaves_the_task_as_it_was(tmp_path: Path) -> None:
    far = machine([4000, 4001])
    done = start(tmp_path, far, 0, SLURMKIT_AFFINITY="warn")
    assert report(done)["cpus"] == CPUS
    assert done.stderr.startswith("slurmkit: warning: affinity: node1: rank 0 ")
    assert start(tmp_path, far, 1, SLURMKIT_AFFINITY="warn").stderr == ""


def test_variables_that_are_set_stay(tmp_path: Path) -> None:
    env = {"SLURMKIT_AFFINITY": "strict", "NCCL_IB_HCA": "=mlx5_7"}
    found = report(start(tmp_path, machine(), 0, 1, **env))
    assert found["env"]["NCCL_IB_HCA"] == "=mlx5_7"
    assert found["env"]["UCX_NET_DEVICES"] == "mlx5_0:1"


def test_policy_none_binds_nothing_and_still_chooses_nics(tmp_path: Path) -> None:
    env = {"SLURMKIT_AFFINITY": "strict", "SLURMKIT_AFFINITY_POLICY": "none"}
    found = report(start(tmp_path, machine(), 1, **env))
    assert found["cpus"] == CPUS
    assert found["policy"] in ("default", "")
    assert found["env"]["UCX_NET_DEVICES"] == "mlx5_1:1"


@needs_two_cpus
def test_reserved_cores_smt_and_memory_are_as_the_variables_say(tmp_path: Path) -> None:
    strict = {"SLURMKIT_AFFINITY": "strict"}
    found = report(start(tmp_path, machine(), 0, 1, **strict, SLURMKIT_AFFINITY_RESERVED_CORES="1"))
    assert found["cpus"] == [CPUS[1]]
    one_core = machine().replace(smt=(tuple(CPUS[:2]),))
    found = report(start(tmp_path, one_core, 0, 1, **strict))
    assert found["cpus"] == CPUS[:2]
    found = report(start(tmp_path, one_core, 0, 1, **strict, SLURMKIT_AFFINITY_SMT="avoid"))
    assert found["cpus"] == [CPUS[0]]
    for memory, policy in (("bind", "bind:0"), ("interleave", "interleave:0"), ("none", "default")):
        env = {"SLURMKIT_AFFINITY_MEMORY": memory}
        found = report(start(tmp_path, machine(), 0, 1, **strict, **env))
        assert found["policy"] in (policy, "")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RESERVED_CORES", "one", "SLURMKIT_AFFINITY_RESERVED_CORES='one' is not a number"),
        ("RESERVED_CORES", "99", "99 cores of each NUMA node being reserved"),
        ("MEMORY", "far", "expected memory to be one of local, bind, interleave, none"),
        ("WIRING", "loose", "expected cross_node to be one of '', rails, flat"),
    ],
)
def test_nonsense_in_the_rules_starts_nothing(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    two_nodes = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}
    place = two_nodes | {"SLURM_STEP_NUM_NODES": "2"} if name == "WIRING" else {}
    env = {"SLURMKIT_AFFINITY": "strict", f"SLURMKIT_AFFINITY_{name}": value}
    done = start(tmp_path, machine(), 0, **place, **env)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert words in done.stderr


def test_one_launcher_for_all_ranks_cannot_be_bound(tmp_path: Path) -> None:
    strict = start(tmp_path, machine(), 0, 1, "--per-node", SLURMKIT_AFFINITY="strict")
    assert strict.returncode == 1
    assert "torchrun" in strict.stderr
    assert start(tmp_path, machine(), 0, 1, "--per-node", SLURMKIT_AFFINITY="warn").returncode == 0


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"SLURMKIT_AFFINITY": "strickt"}, "no mode of affinity"),
        ({"SLURMKIT_AFFINITY": "warn", "SLURMKIT_TOPOLOGY": "/nowhere"}, "cannot read"),
        ({"SLURMKIT_AFFINITY": "warn", "SLURMKIT_TOPOLOGY": "/dev/null"}, "not JSON"),
    ],
)
def test_nonsense_is_a_usage_error(env: dict[str, str], words: str) -> None:
    done = subprocess.run(
        [SLURMKIT, "exec", "--", "true"],
        env=task(0, 1, **env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr


def plan(rank: int, num_ranks: int, tmp_path: Path, **env: str) -> Any:
    path = tmp_path / "node.json"
    path.write_text(json.dumps(to_json(machine())))
    place = Placement(rank, num_ranks, rank, num_ranks, 0, 1)
    whole = {"SLURMKIT_TOPOLOGY": str(path), "SLURM_CPUS_ON_NODE": str(len(CPUS))}
    return plan_task(whole | env, place, frozenset(CPUS))


@needs_two_cpus
def test_a_task_that_sees_only_its_own_gpu_takes_that_gpus_line(tmp_path: Path) -> None:
    """--gpus-per-task without a device cgroup: numbers of the node, given in any order."""
    for rank, gpu in ((0, "1"), (1, "0")):
        env = {"CUDA_VISIBLE_DEVICES": gpu, "SLURM_STEP_GPUS": "0,1"}
        found = plan(rank, 2, tmp_path, **env)
        assert [g.index for g in found.gpus] == [int(gpu)]
        assert found.cpus == {CPUS[int(gpu)]}


def test_a_step_that_slurm_gave_no_gpu_is_placed_as_if_there_were_none(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    path.write_text(json.dumps(to_json(machine())))
    env = {"SLURMKIT_TOPOLOGY": str(path), "SLURM_JOB_ID": "7"}
    place = Placement(0, 1, 0, 1, 0, 1)
    alone = plan_task(env, place, frozenset(CPUS))
    assert alone.gpus == ()
    assert alone.cpus == frozenset(CPUS[:2])
    given = plan_task(env | {"SLURM_STEP_GPUS": "1"}, place, frozenset(CPUS))
    assert [gpu.index for gpu in given.gpus] == [1]


@needs_two_cpus
def test_more_ranks_than_gpus_share_them(tmp_path: Path) -> None:
    found = [plan(rank, 2, tmp_path, CUDA_VISIBLE_DEVICES="1") for rank in range(2)]
    assert [[gpu.index for gpu in each.gpus] for each in found] == [[1], [1]]
    assert found[0].cpus != found[1].cpus


@needs_two_cpus
def test_masks_that_slurm_made_per_task_are_the_border_without_a_cpuset(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    path.write_text(json.dumps(to_json(machine())))
    online = frozenset(CPUS)
    env = {"SLURM_CPUS_ON_NODE": "1"}
    assert step_cpus(online, frozenset(CPUS[:1]), env, 1) == (frozenset(CPUS[:1]), True)
    assert step_cpus(online, online, {"SLURM_CPUS_ON_NODE": str(len(CPUS))}, 2) == (online, True)
    place = Placement(0, 1, 0, 1, 0, 1)
    env |= {"SLURMKIT_TOPOLOGY": str(path)}
    assert plan_task(env, place, frozenset(CPUS[1:2])).cpus == {CPUS[1]}
    assert os.sched_getaffinity(0) == {CPUS[1]}


def test_a_rank_stays_inside_cores_of_its_own() -> None:
    request = Request(num_ranks=2, gpus_visible=("1", "0"))
    found = plan_within_mask(machine([3, 5, 7]), request, 1, frozenset({5, 7}))
    assert (found.local_rank, found.gpus[0].index, found.cpus) == (1, 0, {5, 7})
    assert [nic.name for nic in found.nics] == ["mlx5_0"]
    with pytest.raises(AffinityError, match="found CPUs 9"):
        plan_within_mask(machine([3, 5, 7]), request, 1, frozenset({9}))


def test_the_plan_names_a_rank_that_gets_no_core(tmp_path: Path) -> None:
    with pytest.raises(AffinityError, match="local rank"):
        plan(0, 64, tmp_path, CUDA_VISIBLE_DEVICES="0,1")


def test_interface_to_a_host() -> None:
    assert interface_to("127.0.0.1") == ""
    assert interface_to("no-such-host.invalid") == ""
    name = interface_to("192.0.2.1")
    assert name == "" or Path("/sys/class/net", name).exists()


def test_lists_of_this_machine() -> None:
    assert parse_cpulist(Path("/sys/devices/system/cpu/online").read_text()) >= set(CPUS)
