"""Nodes compare their rails by small files before a program starts."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from slurmkit.launch.nccl import nccl_version, parse
from slurmkit.launch.rails import Exchange, RailsError, is_needed
from slurmkit.launch.variables import Placement
from slurmkit.topology.affinity import AffinityError
from slurmkit.topology.affinity_rails import NodeRails, compare_rails, from_text
from slurmkit.topology.export_json import to_json
from slurmkit.topology.model import Gpu, Nic, NumaNode, Port, Topology

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
NODE1 = NodeRails("node1", ((("mlx5_0", 0),), (("mlx5_3", 1),)))
NODE2 = NodeRails("node2", ((("mlx5_9", 0),), (("mlx5_4", 1),)))  # other numbers, same rails
CROSSED = NodeRails("node2", ((("mlx5_9", 0),), (("mlx5_9", 0),)))


def step(folder: Path, **env: str) -> dict[str, str]:
    own = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_SRUN_COMM_PORT": "4711"}
    return (
        own | {"SLURMKIT_RENDEZVOUS_DIR": str(folder), "SLURMKIT_RENDEZVOUS_TIMEOUT_S": "5"} | env
    )


def part(folder: Path, rank: int, strict: bool = True, **env: str) -> Exchange:
    place = Placement(rank, 4, rank % 2, 2, rank // 2, 2)
    return Exchange(step(folder, **env), place, strict)


def all_ranks(folder: Path, second: NodeRails | None, strict: bool = True) -> dict[int, object]:
    """What each of four ranks on two nodes is told; None: node 2 has no plan."""
    told: dict[int, object] = {}

    def run(rank: int) -> None:
        exchange = part(folder, rank, strict)
        rails = NODE1 if rank < 2 else second
        if rails is None:
            exchange.refuse()
            return
        try:
            if rank % 2 == 0:
                exchange.publish(rails)
            told[rank] = exchange.agree()
        except (AffinityError, RailsError) as error:
            told[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_lines_are_read_back() -> None:
    node = NodeRails("node1", ((("mlx5_0", 0), ("mlx5_1", 1)), None, ()))
    assert from_text(node.to_text()) == node


def test_ranks_without_a_gpu_need_not_match() -> None:
    compare_rails([NODE1, NodeRails("node2", (None, NODE2.ranks[1]))])
    compare_rails([NODE1, NodeRails("node2", NODE2.ranks[:1])])  # fewer ranks there


@pytest.mark.parametrize("strict", [True, False])
def test_nodes_that_agree_start(tmp_path: Path, strict: bool) -> None:
    assert all_ranks(tmp_path, NODE2, strict) == dict.fromkeys(range(4), True)
    # The nodes' own files are gone; the verdict is for ranks that come late.
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == (1 if strict else 0)


def test_a_crossed_rail_is_told_by_rank_0_and_stops_everybody(tmp_path: Path) -> None:
    told = all_ranks(tmp_path, CROSSED)
    assert isinstance(told[0], AffinityError)
    assert told[0].who == "node1 and node2: local rank 1"
    assert "mlx5_3 on rail 1 on node1" in told[0].expected
    assert told[0].found == "mlx5_9 on rail 0 on node2"
    assert {rank: told[rank] for rank in (1, 2, 3)} == dict.fromkeys((1, 2, 3), False)


def test_where_it_is_only_told_nobody_waits_for_rank_0(tmp_path: Path) -> None:
    told = all_ranks(tmp_path, CROSSED, strict=False)
    assert isinstance(told[0], AffinityError)
    assert {rank: told[rank] for rank in (1, 2, 3)} == dict.fromkeys((1, 2, 3), True)


def test_a_node_without_a_plan_stops_the_others_at_once(tmp_path: Path) -> None:
    assert all_ranks(tmp_path, None) == {0: False, 1: False}


def test_a_node_that_says_nothing_is_waited_for_and_then_named(tmp_path: Path) -> None:
    exchange = part(tmp_path, 0, SLURMKIT_RENDEZVOUS_TIMEOUT_S="0.1")
    exchange.publish(NODE1)
    with pytest.raises(RailsError, match="only 2 of 4 ranks' rails"):
        exchange.agree()
    # Rank 0 has given up: nobody waits longer for its verdict.
    assert part(tmp_path, 3).agree() is False


def test_a_rank_without_a_verdict_says_so(tmp_path: Path) -> None:
    with pytest.raises(RailsError, match="rank 0 published no verdict"):
        part(tmp_path, 2, SLURMKIT_RENDEZVOUS_TIMEOUT_S="0.1").agree()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RailsError, match=r"file/there: Not a directory"):
        part(tmp_path / "file/there", 0).publish(NODE1)


def test_when_there_is_something_to_compare(tmp_path: Path) -> None:
    two_nodes, one_node = Placement(0, 4, 0, 2), Placement(0, 4, 0, 4)
    assert is_needed(step(tmp_path), two_nodes)
    assert not is_needed(step(tmp_path), one_node)
    assert not is_needed(step(tmp_path, SLURMKIT_AFFINITY_WIRING="flat"), two_nodes)
    assert not is_needed({}, two_nodes)


def node(host: str, **down: str) -> Topology:
    cpus = frozenset(sorted(os.sched_getaffinity(0))[:2])
    gpus = (Gpu(0, "0000:10:00.0", 0, ("a",)), Gpu(1, "0000:20:00.0", 0, ("b",)))
    nics = tuple(
        Nic(
            f"mlx5_{n}",
            f"0000:{n + 1}1:00.0",
            0,
            (path,),
            (Port(1, down.get(path, "ACTIVE"), 400.0, "InfiniBand"),),
            role="compute",
        )
        for n, path in enumerate("ab")
    )
    numa = (NumaNode(0, cpus, 1000),)
    return Topology(host, "json", cpus, tuple((c,) for c in sorted(cpus)), numa, gpus, nics)


def started(folder: Path, mode: str, second: Topology, **env: str) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of four ranks of `slurmkit exec` on two made-up nodes."""
    ranks = []
    for host, shown in (("node1", node("node1")), ("node2", second)):
        (folder / f"{host}.json").write_text(json.dumps(to_json(shown)))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "CUDA", "NCCL"))}
    for rank in range(4):
        host = f"node{rank // 2 + 1}"
        place = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank % 2, "SLURM_NODEID": rank // 2}
        place |= {"SLURM_STEP_NUM_TASKS": 4, "SLURM_STEP_NUM_NODES": 2}
        own = {name: str(value) for name, value in place.items()} | {
            "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
            "SLURMD_NODENAME": host,
            "SLURMKIT_TOPOLOGY": str(folder / f"{host}.json"),
            "SLURMKIT_AFFINITY": mode,
            "CUDA_VISIBLE_DEVICES": "0,1",
            "MASTER_ADDR": "node1",
            "MASTER_PORT": "17000",
        }
        ranks.append(
            subprocess.Popen(
                [SLURMKIT, "exec", "--", "sh", "-c", "echo $NCCL_IB_HCA $NCCL_CROSS_NIC"],
                env=clean | step(folder / "meet") | own | env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    done = [(process, *process.communicate(timeout=60)) for process in ranks]
    return [(process.returncode, out, err) for process, out, err in done]


needs_two_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


@needs_two_cpus
def test_exec_starts_ranks_whose_rails_agree(tmp_path: Path) -> None:
    done = started(tmp_path, "strict", node("node2"))
    assert done == [(0, "=mlx5_0,mlx5_1\n", "")] * 4


@needs_two_cpus
def test_exec_starts_no_rank_where_rails_differ(tmp_path: Path) -> None:
    done = started(tmp_path, "strict", node("node2", b="DOWN"))
    assert [(code, out) for code, out, _ in done] == [(1, "")] * 4
    assert done[0][2].startswith(
        "slurmkit: error: affinity: node1 and node2: local rank 1: expected NICs on the same rails "
        "on both hosts (mlx5_1 on rail 1 on node1), found mlx5_0 on rail 0 on node2"
    )
    assert "error" not in "".join(err for _, _, err in done[1:])


@needs_two_cpus
def test_exec_tells_of_rails_that_differ_and_starts(tmp_path: Path) -> None:
    done = started(tmp_path, "warn", node("node2", b="DOWN"))
    assert [code for code, _, _ in done] == [0] * 4
    assert "warning: affinity: node1 and node2: local rank 1" in done[0][2]
    flat = started(tmp_path, "strict", node("node2", b="DOWN"), SLURMKIT_AFFINITY_WIRING="flat")
    assert [code for code, _, _ in flat] == [0] * 4
    assert flat[0][1] == "=mlx5_0,mlx5_1 1\n"


@needs_two_cpus
def test_rails_reach_an_nccl_that_knows_them(tmp_path: Path) -> None:
    env = {"SLURMKIT_AFFINITY_WIRING": "rails", "SLURMKIT_NCCL_VERSION": "2.30.7"}
    done = started(tmp_path, "strict", node("node2"), **env)
    assert done == [(0, "=mlx5_0::0:0,mlx5_1::1:0 0\n", "")] * 4
    env["SLURMKIT_NCCL_VERSION"] = "2.27.3"
    done = started(tmp_path, "strict", node("node2"), **env)
    assert done == [(0, "=mlx5_0,mlx5_1 0\n", "")] * 4


def test_the_release_of_nccl_is_that_of_the_programs_environment(tmp_path: Path) -> None:
    packages = tmp_path / "venv/lib/python3.11/site-packages"
    (packages / "nvidia_nccl_cu12-2.21.5.dist-info").mkdir(parents=True)
    (tmp_path / "venv/bin").mkdir()
    (tmp_path / "venv/bin/python").symlink_to(sys.executable)
    env = {"PATH": f"{tmp_path}/venv/bin:/bin", "NCCL_VERSION": "2.19.3-1"}
    assert nccl_version(env, "python") == (2, 21, 5)
    assert nccl_version({}, f"{tmp_path}/venv/bin/python") == (2, 21, 5)
    assert nccl_version(env, "sh") == (2, 19, 3)
    assert nccl_version(env | {"SLURMKIT_NCCL_VERSION": "2.30.7"}, "python") == (2, 30, 7)
    assert nccl_version({"PATH": "/bin"}, "sh") is None
    assert parse("2.x") is None
