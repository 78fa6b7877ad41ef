"""Sandbox nodes that look like a platform: what /sys shows there, and ranks bound by it."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmkit.errors import UsageError
from slurmkit.sandbox import Sandbox, SandboxUnavailableError
from slurmkit.topology.affinity import Request, plan_ranks
from slurmkit.topology.cpuset import parse_cpulist
from slurmkit.topology.discover import discover
from slurmkit.topology.export_json import from_json
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile

pytestmark = pytest.mark.slurm
SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
PROFILE = "dgx-h100"
CPUS = sorted(os.sched_getaffinity(0))

# What the kernel says about each rank, a file each.
_PROGRAM = r"""
import json, os
status = dict(line.rstrip().split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
row = [os.uname().nodename, int(os.environ["RANK"]), status["Cpus_allowed_list"], dict(os.environ)]
with open(f"{os.path.dirname(__file__)}/rank-{row[1]}.json", "w") as file:
    json.dump(row, file)
"""


def _up(name: str, **options: Any) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    before = _footprint()
    try:
        sandbox = Sandbox.up(f"test-{name}-{os.getpid()}", nodes=2, profile=PROFILE, **options)
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        yield sandbox
    finally:
        state = sandbox.layout.state_dir
        sandbox.down()
        assert not state.exists()
        # Nothing of the platform was ever seen outside, or stays.
        assert _footprint() == before


def _footprint() -> tuple[object, ...]:
    machine = discover()
    mounts = Path("/proc/self/mounts").read_text()
    return (machine.cpus_online, machine.numa, machine.gpus, machine.nics, mounts.count(" /sys "))


@pytest.fixture(scope="module")
def full() -> Iterator[Sandbox]:
    yield from _up("profile")


@pytest.fixture(scope="module")
def scaled() -> Iterator[Sandbox]:
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    yield from _up("scaled", scale=True, gpus=2, renumber=True)


def shown(sandbox: Sandbox, node: str) -> Topology:
    done = sandbox.exec(node, [SLURMKIT, "topo", "show", "--json"], check=True)
    return from_json(json.loads(done.stdout))


def nccl_hcas(row: list[Any]) -> list[str]:
    """The HCAs that NCCL may use, sorted."""
    return sorted(row[3]["NCCL_IB_HCA"].removeprefix("=").split(","))


def places(node: Topology) -> dict[str, object]:
    """What a profile and discovery must agree on, without what one of them cannot know."""
    compute = [nic for nic in node.nics if nic.role == "compute"]
    return {
        "cpus": node.cpus_online,
        "smt": node.smt,
        "numa": [(numa.index, numa.cpus) for numa in node.numa],
        "gpus": [(gpu.pci, gpu.numa, gpu.name, gpu.pci_id, gpu.link) for gpu in node.gpus],
        "nics": [(n.name, n.pci, n.numa, n.provider, n.pci_id, n.rate_gbps) for n in compute],
        "others": sorted(nic.name for nic in node.nics if nic.role != "compute"),
    }


def test_a_node_shows_the_platform_as_its_profile_says(full: Sandbox) -> None:
    profile = load_profile(PROFILE)
    for node in full.nodes:
        found = shown(full, node)
        assert found.host == node
        assert places(found) == places(profile)
    done = full.exec("node1", [SLURMKIT, "topo", "verify", "--profile", PROFILE, "--json"])
    report = json.loads(done.stdout)
    assert (done.returncode, report["matches"], report["differences"]) == (0, True, [])


def test_other_hosts_show_the_machine(full: Sandbox) -> None:
    here = discover()
    found = shown(full, "login")
    assert (found.cpus_online, found.gpus, found.nics) == (here.cpus_online, here.gpus, here.nics)


def _lscpu(sandbox: Sandbox) -> dict[str, str]:
    text = sandbox.exec("node1", ["lscpu"], env={"LC_ALL": "C"}, check=True).stdout
    rows = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in rows}


def test_slurm_knows_type_and_cores_of_the_gpus(full: Sandbox) -> None:
    done = full.exec("login", ["scontrol", "show", "node", "node1"], check=True)
    assert "Gres=gpu:h100:8(S:0-1)" in done.stdout
    assert "CPUTot=112" in done.stdout
    # What reads /sys in other ways finds two sockets, too.
    assert _lscpu(full)["Socket(s)"] == "2"
    assert _lscpu(full)["NUMA node1 CPU(s)"] == "56-111,168-223"
    lines = (full.layout.slurm_conf_path.parent / "gres.conf").read_text().splitlines()
    assert lines == [
        "AutoDetect=off",
        "NodeName=node[1-2] Name=gpu Type=h100 File=/dev/nvidia[0-3] Cores=0-55",
        "NodeName=node[1-2] Name=gpu Type=h100 File=/dev/nvidia[4-7] Cores=56-111",
    ]
    run = ["srun", "--nodes=2", "--gpus-per-node=h100:8", "printenv", "CUDA_VISIBLE_DEVICES"]
    assert full.exec("login", run, check=True).stdout.split() == ["0,1,2,3,4,5,6,7"] * 2


def test_cgroups_stay_in_sight_and_a_node_that_was_killed_looks_the_same(full: Sandbox) -> None:
    def cgroups(host: str) -> str:
        return full.exec(host, ["ls", "/sys/fs/cgroup"], check=True).stdout

    assert cgroups("node2") == cgroups("login")
    before = shown(full, "node2")
    full.kill("node2")
    full.heal("node2")
    assert shown(full, "node2") == before


def test_a_scaled_node_differs_from_the_platform_only_in_its_size(scaled: Sandbox) -> None:
    found = shown(scaled, "node1")
    assert found.cpus_online == frozenset(CPUS)
    assert [gpu.pci for gpu in found.gpus] == ["0000:1b:00.0", "0000:9d:00.0"]
    assert [gpu.numa for gpu in found.gpus] == [0, 1]
    whole = load_profile(PROFILE)
    assert {nic.name for nic in found.nics} == {nic.name for nic in whole.nics}
    # HCAs of GPUs that it lacks are near to none, and not for collectives.
    assert [nic.name for nic in found.nics if nic.role == "compute"] == ["mlx5_0", "mlx5_6"]
    done = scaled.exec("node1", [SLURMKIT, "topo", "verify", "--profile", PROFILE, "--json"])
    errors = {item["key"] for item in json.loads(done.stdout)["differences"]}
    assert done.returncode == 1
    # GPU 1 is the platform's GPU 4: compared by number, place and neighbours differ, too.
    assert {key.split(".")[0] for key in errors} <= {"numa", "smt", "gpus", "nics"}


def test_ranks_of_a_strict_job_run_as_the_plan_of_their_node_says(scaled: Sandbox) -> None:
    folder = scaled.shared_dir / "strict"
    folder.mkdir()
    (folder / "program.py").write_text(_PROGRAM)
    job = {
        "name": "bound",
        "resources": {"nodes": 2, "gpus_per_node": 2, "time": "5m"},
        "launch": {"command": [sys.executable, str(folder / "program.py")]},
        "affinity": "strict",
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    env = {"HOME": str(folder), "SLURMKIT_RUN_ROOT": str(folder / "runs")}
    command = [SLURMKIT, "submit", "--wait", "job.yaml"]
    done = scaled.exec("login", command, cwd=folder, env=env, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = sorted(json.loads(path.read_text()) for path in folder.glob("rank-*.json"))
    assert [(row[0], row[1]) for row in rows] == [
        ("node1", 0),
        ("node1", 1),
        ("node2", 2),
        ("node2", 3),
    ]
    plan_command = [SLURMKIT, "topo", "plan", "--ranks", "2", "--json"]
    for host, _, cpus, variables in rows:
        printed = json.loads(scaled.exec(host, plan_command, check=True).stdout)
        plan = printed[int(variables["LOCAL_RANK"])]
        assert parse_cpulist(cpus) == parse_cpulist(plan["cpus"])
        assert {name: variables[name] for name in plan["env"]} == plan["env"]
        assert variables["UCX_NET_DEVICES"] == plan["nics"][0] + ":1"
    # node2 has other numbers for its HCAs, and its ranks have the ones at the same place.
    hcas = [row[3]["UCX_NET_DEVICES"].removesuffix(":1") for row in rows]
    assert hcas[:2] == ["mlx5_0", "mlx5_6"]
    assert set(hcas[:2]).isdisjoint(hcas[2:])
    for rank, name in enumerate(hcas):
        nics = {nic.name: nic.pci for nic in shown(scaled, rows[rank][0]).nics}
        assert nics[name] == ["0000:18:00.0", "0000:9a:00.0"][rank % 2]
        assert nccl_hcas(rows[rank]) == sorted(hcas[rank // 2 * 2 : rank // 2 * 2 + 2])
    # Each rank is on its own half of this machine's CPUs.
    first, second = (parse_cpulist(rows[rank][2]) for rank in (0, 1))
    assert first.isdisjoint(second)
    assert first | second <= frozenset(CPUS)


def test_a_plan_for_more_ranks_than_cores_ends_a_strict_step(full: Sandbox) -> None:
    """Full size is for looking: no rank can have CPU 56 of a machine that has not so many."""
    plans = plan_ranks(load_profile(PROFILE), Request(num_ranks=8))
    if frozenset().union(*(plan.cpus for plan in plans)) <= frozenset(CPUS):
        pytest.skip("this machine has the CPUs of a DGX")
    step = ["srun", "--nodes=1", "--ntasks=8", "--gpus-per-node=8", SLURMKIT, "exec", "--", "true"]
    done = full.exec("login", step, env={"SLURMKIT_AFFINITY": "strict"})
    assert done.returncode != 0
    said = "error: affinity: node1: local rank 4: expected cores of NUMA node 1 (CPUs 56-"
    assert said in done.stderr


def test_without_a_profile_a_node_shows_the_machine(cluster: Sandbox) -> None:
    assert not cluster.layout.hardware_dir.exists()
    here = discover()
    found = shown(cluster, "node1")
    assert (found.cpus_online, found.gpus, found.nics) == (here.cpus_online, here.gpus, here.nics)
    mounts = cluster.exec("node1", ["cat", "/proc/self/mounts"], check=True).stdout
    assert "overlay /sys " not in mounts


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"profile": "dgx-z9"}, "there is no profile 'dgx-z9'"),
        ({"profile": PROFILE, "cpus": 8}, "the cores come from the profile"),
        ({"profile": PROFILE, "gpus": 4}, "a dgx-h100 has 8 GPUs"),
        ({"profile": PROFILE, "gpus": 9, "scale": True}, "8 GPUs, not 9"),
        ({"scale": True}, "--scale needs a --profile"),
        ({"renumber": True}, "--renumber needs a --profile"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    options: dict[str, Any], said: str
) -> None:
    name = f"test-refused-{os.getpid()}"
    with pytest.raises(UsageError, match=re.escape(said)):
        Sandbox.up(name, **options)
    with pytest.raises(Exception, match="there is no sandbox"):
        Sandbox.open(name)
