"""Affinity under real Slurm: ranks run as the plan says, or the step ends before the program."""

import json
import os
import re
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox
from slurmkit.topology.affinity import Request, plan_ranks
from slurmkit.topology.cpuset import parse_cpulist
from slurmkit.topology.discover import discover
from slurmkit.topology.export_json import to_json
from slurmkit.topology.model import Gpu, Nic, NumaNode, Port, Topology

pytestmark = pytest.mark.slurm
SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
CPUS = sorted(os.sched_getaffinity(0))

# What the kernel says about the program itself, not what slurmkit says it did.
_PROGRAM = r"""
import ctypes, json, os
status = dict(line.rstrip().split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
mode, mask = ctypes.c_int(), (ctypes.c_ulong * 16)()
number = {"x86_64": 239, "aarch64": 236}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
failed = libc.syscall(number, ctypes.byref(mode), mask, ctypes.c_ulong(1024), None, 0)
nodes = [bit for bit in range(1024) if mask[bit // 64] >> (bit % 64) & 1]
memory = ctypes.get_errno() if failed else [mode.value, nodes]
row = [os.uname().nodename, int(os.environ["RANK"]), status["Cpus_allowed_list"], memory]
# A file each: srun cuts long lines, and mixes the pieces of several tasks.
with open(f"{os.path.dirname(__file__)}/rank-{row[1]}.json", "w") as file:
    json.dump([*row, dict(os.environ)], file)
"""
_PREFERRED, _BIND = 1, 2


def scaled_node() -> Topology:
    """A node of two GPUs, a NIC beside each and a management HCA, on this machine's own CPUs."""
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    real = discover()
    memory = real.numa[0].index if real.numa else 0
    mine = frozenset(CPUS[:2])
    port = (Port(1, "ACTIVE", 400.0, "InfiniBand"),)
    roots = ("pci0000:15", "pci0000:3d")
    gpus = tuple(Gpu(n, f"0000:{n + 1}b:00.0", memory, (root,)) for n, root in enumerate(roots))
    nics = tuple(
        Nic(name, f"0000:{n}8:00.0", memory, (root,), port, role=role)
        for n, (name, root, role) in enumerate(
            [
                ("mlx5_0", roots[0], "compute"),
                ("mlx5_1", roots[0], "management"),
                ("mlx5_10", roots[1], "compute"),
            ]
        )
    )
    numa = (NumaNode(memory, mine, 1000, (10,)),)
    return Topology("scaled", "json", mine, tuple((c,) for c in CPUS[:2]), numa, gpus, nics)


class Place:
    """A folder that all hosts of a cluster see, with a topology and a program."""

    def __init__(self, cluster: Sandbox, folder: Path, node: Topology) -> None:
        self.cluster, self.folder = cluster, folder
        (folder / "node.json").write_text(json.dumps(to_json(node)))
        (folder / "program.py").write_text(_PROGRAM)

    def srun(
        self, *options: str, visible: str | None = None, **env: str
    ) -> "CompletedProcess[str]":
        own = {"SLURMKIT_TOPOLOGY": str(self.folder / "node.json"), "HOME": str(self.folder)}
        command = [SLURMKIT, "exec", "--", sys.executable, str(self.folder / "program.py")]
        if visible is not None:  # Slurm sets or removes the variable in every task
            command = ["env", f"CUDA_VISIBLE_DEVICES={visible}", *command]
        return self.cluster.exec(
            "login", ["srun", *options, *command], cwd=self.folder, env=own | env, timeout=120
        )

    def rows(self, done: "CompletedProcess[str]") -> list[list[Any]]:
        """Return what the ranks found: host, rank, CPUs, memory policy, environment."""
        assert done.returncode == 0, done.stdout + done.stderr
        found = [json.loads(path.read_text()) for path in self.folder.glob("rank-*.json")]
        return sorted(found, key=lambda row: row[1])

    def states(self) -> set[str]:
        done = self.cluster.exec("login", ["sinfo", "--noheader", "--format=%T"], check=True)
        return set(done.stdout.split())


@pytest.fixture
def place(cluster: Sandbox, request: pytest.FixtureRequest) -> Place:
    folder = cluster.shared_dir / re.sub(r"\W+", "-", request.node.name)
    folder.mkdir()
    return Place(cluster, folder, scaled_node())


_STEP = ("--nodes=2", "--ntasks=4", "--ntasks-per-node=2")


@pytest.mark.parametrize("visible", [None, "1,0"], ids=["as Slurm says", "permuted"])
def test_every_rank_is_where_its_plan_says(place: Place, visible: str | None) -> None:
    done = place.srun(*_STEP, "--gpus-per-node=2", visible=visible, SLURMKIT_AFFINITY="strict")
    tokens = tuple((visible or "0,1").split(","))
    plans = plan_ranks(scaled_node(), Request(num_ranks=2, gpus_visible=tokens))
    found = place.rows(done)
    assert len(found) == 4
    for host, rank, cpus, memory, variables in found:
        plan = plans[int(variables["LOCAL_RANK"])]
        assert parse_cpulist(cpus) == plan.cpus, (host, rank)
        assert memory == [_PREFERRED, list(plan.memory_nodes)]
        assert plan.env["NCCL_IB_HCA"] == "=mlx5_0,mlx5_10"
        assert {name: variables[name] for name in plan.env} == plan.env
        # Two nodes: the interface that leads to the rendezvous is known.
        assert variables["NCCL_SOCKET_IFNAME"] == f"={variables['GLOO_SOCKET_IFNAME']}"
    assert done.stderr == ""


def test_ranks_without_gpus_get_disjoint_cores(place: Place) -> None:
    done = place.srun(*_STEP, SLURMKIT_AFFINITY="strict")
    found = place.rows(done)
    by_host: dict[str, list[str]] = {}
    for host, _, cpus, _, _ in found:
        by_host.setdefault(host, []).append(cpus)
    assert [sorted(each) for each in by_host.values()] == [[str(CPUS[0]), str(CPUS[1])]] * 2


def test_strict_ends_the_step_before_the_program_and_leaves_the_node_idle(place: Place) -> None:
    done = place.srun("--nodes=1", "--ntasks=3", SLURMKIT_AFFINITY="strict")
    assert done.returncode != 0
    assert not list(place.folder.glob("rank-*.json"))
    said = [line for line in done.stderr.splitlines() if line.startswith("slurmkit:")]
    assert len(said) == 1, done.stderr
    for word in ("local rank 2", "expected a core", "each of 3 ranks", "found 2", "node"):
        assert word in said[0]
    assert not any("drain" in state or "down" in state for state in place.states())


def test_warn_says_it_once_per_node_and_runs(place: Place) -> None:
    step = ("--nodes=2", "--ntasks=6", "--ntasks-per-node=3")
    done = place.srun(*step, SLURMKIT_AFFINITY="warn")
    assert len(place.rows(done)) == 6
    said = [line for line in done.stderr.splitlines() if line.startswith("slurmkit: warning")]
    assert sorted(line.split(": ")[3] for line in said) == ["node1", "node2"]


def test_nothing_happens_unasked(place: Place) -> None:
    for _, _, cpus, memory, variables in place.rows(place.srun(*_STEP)):
        assert parse_cpulist(cpus) >= frozenset(CPUS[:1])
        assert memory == [0, []]
        assert "UCX_NET_DEVICES" not in variables


def test_a_job_file_binds_its_ranks(place: Place) -> None:
    """From `affinity: strict` in job.yaml, through the script, to the mask of each rank."""
    job = {
        "name": "bound",
        "resources": {"nodes": 2, "gpus_per_node": 2, "time": "5m"},
        "launch": {"command": [sys.executable, str(place.folder / "program.py")]},
        "affinity": "strict",
    }
    (place.folder / "job.yaml").write_text(json.dumps(job))
    env = {"HOME": str(place.folder), "SLURMKIT_TOPOLOGY": str(place.folder / "node.json")}
    env["SLURMKIT_RUN_ROOT"] = str(place.folder / "runs")
    done = place.cluster.exec(
        "login",
        [SLURMKIT, "submit", "--wait", "job.yaml"],
        cwd=place.folder,
        env=env,
        timeout=120,
    )
    found = place.rows(done)
    assert [row[1] for row in found] == [0, 1, 2, 3]
    assert [row[2] for row in found] == [str(CPUS[0]), str(CPUS[1])] * 2
    assert {row[4]["CUDA_VISIBLE_DEVICES"] for row in found} == {"0,1"}
    assert {row[4]["SLURMKIT_AFFINITY"] for row in found} == {"strict"}


def test_a_job_file_reserves_cores_and_binds_memory(place: Place) -> None:
    """From the keys of job.yaml to what the kernel says of the rank."""
    (place.folder / "job.yaml").write_text(
        json.dumps(
            {
                "name": "reserved",
                "resources": {"nodes": 1, "gpus_per_node": 1, "time": "5m"},
                "launch": {"command": [sys.executable, str(place.folder / "program.py")]},
                "affinity": {"mode": "strict", "reserved_cores": 1, "memory": "bind"},
            }
        )
    )
    env = {"HOME": str(place.folder), "SLURMKIT_TOPOLOGY": str(place.folder / "node.json")}
    env["SLURMKIT_RUN_ROOT"] = str(place.folder / "runs")
    done = place.cluster.exec(
        "login", [SLURMKIT, "submit", "--wait", "job.yaml"], cwd=place.folder, env=env, timeout=120
    )
    (row,) = place.rows(done)
    assert row[2] == str(CPUS[1])
    assert row[3] == [_BIND, [node.index for node in scaled_node().numa]]
