"""The SPANK plugins on a real slurmd: ranks, binding, refusal, and nodes that stay idle."""

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from slurmkit.admin.note import read_note
from slurmkit.errors import SlurmkitError
from slurmkit.sandbox import Sandbox, rootfs
from slurmkit.topology.affinity import Request, plan_ranks
from slurmkit.topology.export_json import to_json
from slurmkit.topology.export_map import plugin_map
from slurmkit.topology.model import Gpu, Nic, NumaNode, Topology

_SPEC = util.spec_from_file_location("spank_help", Path(__file__).with_name("spank.py"))
assert _SPEC
assert _SPEC.loader
_HELP = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_HELP)

pytestmark = pytest.mark.slurm
PYTHON = sys.executable
SLURMKIT = str(Path(PYTHON).with_name("slurmkit"))
CPUS = sorted(os.sched_getaffinity(0))

# What a task finds about itself: its mask, its memory policy (get_mempolicy, by number), variables.
PROBE = """
import ctypes, json, os, sys
mode, nodes = ctypes.c_int(), (ctypes.c_ulong * 64)()
number = {"x86_64": 239, "aarch64": 236}[os.uname().machine]
ctypes.CDLL(None).syscall(number, ctypes.byref(mode), nodes, 4096, None, 0)
found = {"cpus": sorted(os.sched_getaffinity(0)), "policy": mode.value, "mems": list(nodes)[:2]}
with open(f"{sys.argv[1]}/{os.environ['SLURM_PROCID']}", "w") as file:
    json.dump(found | {"env": dict(os.environ)}, file)
"""
BIND = 2


@dataclass(frozen=True)
class Place:
    """A cluster with the plugins of its Slurm."""

    cluster: Sandbox
    folder: Path

    def plugin(self, name: str) -> str:
        return str(self.folder / name)

    def load(self, *lines: str) -> None:
        _HELP.load(self.cluster, *lines)

    def run(self, *argv: str, **env: str) -> "CompletedProcess[str]":
        return self.cluster.exec("login", argv, cwd=self.folder, env=env, timeout=60)

    def srun(self, *options: str, **env: str) -> list[dict[str, Any]]:
        """Run the probe and return what the tasks say, by rank."""
        said = Path(tempfile.mkdtemp(dir=self.folder))
        done = self.run("srun", *options, PYTHON, str(self.folder / "probe.py"), str(said), **env)
        assert done.returncode == 0, done.stderr
        return [json.loads(path.read_text()) for path in sorted(said.iterdir())]

    def map(self, name: str, *cpus: int, host: str = "-") -> str:
        lines = [
            f"gpu {i} 0000:{i + 1:02x}:00.0 cpus={cpu} mems=0 nics=mlx5_{i} "
            f"env=NCCL_IB_HCA==mlx5_{i}\x1fNOTE=two words"
            for i, cpu in enumerate(cpus)
        ]
        path = self.folder / name
        path.write_text("\n".join([f"slurmkit-map 1 {host}", *lines]) + "\n")
        return str(path)

    def idle(self) -> bool:
        """Whether both nodes take jobs: neither drained nor down."""
        states = self.run("sinfo", "--noheader", "--Node", "--format=%T").stdout
        return not any(word in states for word in ("drain", "down", "fail"))


RELEASES = ["host", "forky", pytest.param("trixie", marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=RELEASES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    release = request.param
    name = f"test-spank{release}-{os.getpid()}"
    try:
        cluster = Sandbox.up(name, nodes=2, gpus=2, cpus=8, release=release)
    except SlurmkitError as error:
        pytest.skip(f"no {release} sandbox cluster on this machine: {error.message}")
    with cluster:
        built = _HELP.built_plugins(cluster.layout.root_dir, tmp_path_factory.mktemp(release))
        folder = cluster.shared_dir / "spank"
        folder.mkdir()
        for plugin in built.glob("*.so"):
            shutil.copy(plugin, folder)
        (folder / "probe.py").write_text(PROBE)
        yield Place(cluster, folder)


@pytest.fixture
def both(place: Place) -> Place:
    """Both plugins, with a map that gives GPU 0 our first CPU and GPU 1 our last."""
    table = place.map("map", CPUS[0], CPUS[-1])
    place.load(
        f"optional {place.plugin(_HELP.RANK)}",
        f"optional {place.plugin(_HELP.AFFINITY)} map={table}",
    )
    return place


def test_it_builds_for_the_slurm_of_trixie(tmp_path: Path) -> None:
    root_dir = rootfs.rootfs_dir("trixie")
    if not root_dir.is_dir():
        pytest.skip(f"there is no root file system of trixie in {root_dir.parent}")
    note = read_note(_HELP.built_plugins(root_dir, tmp_path) / _HELP.AFFINITY)
    assert note
    assert note.slurm.startswith("24.11.")


def test_the_command_line_installs_and_removes_them(place: Place) -> None:
    """On the login host, as an administrator does it; only the plugin folder is our own."""
    if place.cluster.layout.root_dir:
        pytest.skip(
            "plugins are installed by the command line on the cluster of this machine's Slurm"
        )
    place.load()
    folder = place.folder / "installed"
    folder.mkdir()
    there = ("--plugin-dir", str(folder))
    ours = (SLURMKIT, "plugins")
    done = place.run(*ours, "install", "--from", str(place.folder), *there)
    try:
        assert done.returncode == 0, done.stderr
        assert place.run(*ours, "check", *there).returncode == 0
        assert place.run("srun", "printenv", "WORLD_SIZE").stdout == "1\n"
    finally:
        done = place.run(*ours, "uninstall", *there)
    assert done.returncode == 0, done.stderr
    assert place.run("srun", "printenv", "WORLD_SIZE").returncode != 0
    assert list(folder.iterdir()) == []


def test_a_bare_srun_has_ranks(both: Place) -> None:
    tasks = both.srun("--nodes=2", "--ntasks=3", "--distribution=block")
    ports = set()
    for task in tasks:
        env = task["env"]
        assert env["RANK"] == env["SLURM_PROCID"]
        assert env["LOCAL_RANK"] == env["SLURM_LOCALID"]
        assert env["NODE_RANK"] == env["GROUP_RANK"] == env["SLURM_NODEID"]
        assert env["WORLD_SIZE"] == "3"
        assert env["LOCAL_WORLD_SIZE"] == ("2" if env["NODE_RANK"] == "0" else "1")
        assert env["MASTER_ADDR"] == "node1"
        ports.add(int(env["MASTER_PORT"]))
    assert len(ports) == 1
    assert 16384 <= ports.pop() <= 32767


def test_what_the_user_set_stays(both: Place) -> None:
    for task in both.srun("--ntasks=2", MASTER_PORT="1234", NODE_RANK="7"):
        assert task["env"]["MASTER_PORT"] == "1234"
        assert task["env"]["NODE_RANK"] == "7"
        assert task["env"]["WORLD_SIZE"] == "2"


def test_a_step_inside_a_step_has_its_own_ranks(both: Place) -> None:
    said = Path(tempfile.mkdtemp(dir=both.folder))
    inner = f"srun --overlap --nodes=1 --ntasks=1 {PYTHON} {both.folder}/probe.py {said}"
    script = f'if [ "$RANK" = 1 ]; then exec {inner}; fi'
    done = both.run("srun", "--nodes=1", "--ntasks=2", "--overlap", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    env = json.loads((said / "0").read_text())["env"]
    assert (env["RANK"], env["WORLD_SIZE"], env["SLURM_PROCID"]) == ("0", "1", "0")


def test_a_batch_script_is_no_rank(both: Place) -> None:
    out = both.folder / "batch.out"
    wrap = 'echo "rank ${RANK-none} ${SLURMKIT_SPANK-none}"'
    done = both.run("sbatch", "--wait", f"--output={out}", f"--wrap={wrap}")
    assert done.returncode == 0, done.stderr
    assert out.read_text() == "rank none none\n"


def test_off_leaves_everything_alone(both: Place) -> None:
    options = ("--ntasks=2", "--nodes=1", "--gpus-per-node=2", "--slurmkit-affinity=off")
    for task in both.srun(*options, SLURMKIT_SPANK_RANK="off"):
        assert task["cpus"] == CPUS
        assert task["policy"] == 0
        assert not {"RANK", "WORLD_SIZE", "NCCL_IB_HCA"} & set(task["env"])


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")
@pytest.mark.parametrize("kind", ["required", "optional"])
def test_tasks_get_what_the_map_says(both: Place, kind: str) -> None:
    both.load(f"{kind} {both.plugin(_HELP.AFFINITY)} mode=strict map={both.folder}/map")
    tasks = both.srun("--ntasks=2", "--nodes=1", "--gpus-per-node=2")
    for rank, task in enumerate(tasks):
        env = task["env"]
        assert task["cpus"] == [CPUS[0] if rank == 0 else CPUS[-1]]
        assert (task["policy"], task["mems"]) == (BIND, [1, 0])
        assert env["NCCL_IB_HCA"] == f"=mlx5_{rank}"
        assert env["NOTE"] == "two words"
        where = f"@{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}.{rank}"
        assert env["SLURMKIT_SPANK"].endswith(f"{where} bound")


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")
@pytest.mark.parametrize(
    ("options", "first"),
    [
        (("--gpus-per-task=1",), 0),
        (("--gpus-per-node=2", "--gpu-bind=single:1"), 0),
        (("--gpus-per-node=2", "--gpu-bind=map_gpu:1,0"), 1),
    ],
)
def test_a_task_with_a_gpu_of_its_own(both: Place, options: tuple[str, ...], first: int) -> None:
    tasks = both.srun("--ntasks=2", "--nodes=1", *options, "--slurmkit-affinity=strict")
    for rank, task in enumerate(tasks):
        gpu = rank ^ first
        assert task["env"]["CUDA_VISIBLE_DEVICES"] == str(gpu)
        assert task["cpus"] == [CPUS[0] if gpu == 0 else CPUS[-1]]


def test_a_launcher_for_all_gpus_keeps_all_their_cpus(both: Place) -> None:
    (task,) = both.srun("--ntasks=1", "--gpus-per-node=2", "--slurmkit-affinity=strict")
    assert task["cpus"] == sorted({CPUS[0], CPUS[-1]})
    assert "NCCL_IB_HCA" not in task["env"]


def test_tasks_without_gpus_need_no_map(both: Place) -> None:
    (task,) = both.srun("--ntasks=1", "--slurmkit-affinity=strict", "--slurmkit-map=/nowhere")
    assert task["cpus"] == CPUS


@pytest.mark.parametrize("kind", ["required", "optional"])
@pytest.mark.parametrize(
    ("command", "case", "words"),
    [
        ("srun", "far", "is next to CPUs 400"),
        ("srun", "missing", "No such file or directory"),
        ("srun", "broken", "line 2: 'nonsense' is no gpu line"),
        ("srun", "other", "is that of node9"),
        ("sbatch", "far", "is next to CPUs 400"),
    ],
)
def test_strict_starts_nothing_and_drains_nothing(
    both: Place, kind: str, command: str, case: str, words: str
) -> None:
    both.load(f"{kind} {both.plugin(_HELP.AFFINITY)}")
    both.map("far", 4000, 4001)
    both.map("other", CPUS[0], CPUS[-1], host="node9")
    (both.folder / "broken").write_text("slurmkit-map 1 -\nnonsense\n")
    mark = both.folder / "ran"
    mark.unlink(missing_ok=True)
    options = ("--ntasks=2", "--nodes=1", "--gpus-per-node=2", "--slurmkit-affinity=strict")
    options += (f"--slurmkit-map={both.folder / case}",)
    if command == "srun":
        done = both.run("srun", *options, "touch", str(mark))
        said = done.stderr
    else:
        out = both.folder / "out"
        wrap = f"--wrap=srun touch {mark}"
        done = both.run("sbatch", "--wait", f"--output={out}", *options, wrap)
        said = out.read_text()
    assert done.returncode == 1, said
    assert not mark.exists()
    assert said.count(words) == 2, said
    assert "slurmkit: node1: rank 0: " in said
    assert both.idle()


def test_warn_says_so_once_per_task_and_runs(both: Place) -> None:
    table = both.map("far", 4000, 4001)
    done = both.run(
        *("srun", "--ntasks=2", "--nodes=1", "--gpus-per-node=2", f"--slurmkit-map={table}"),
        *("sh", "-c", "echo ran"),
    )
    assert (done.returncode, done.stdout) == (0, "ran\nran\n")
    assert done.stderr.count("is not bound: GPU") == 2
    assert done.stderr.count("slurmkit:") == 2


@pytest.mark.parametrize("option", ["--slurmkit-affinity=on", "--slurmkit-map=relative"])
def test_a_wrong_option_ends_srun_at_once(both: Place, option: str) -> None:
    done = both.run("srun", option, "true")
    assert done.returncode != 0
    assert "slurmkit: " in done.stderr
    assert both.idle()


def test_a_wrong_argument_in_plugstack_ends_no_job(both: Place) -> None:
    both.load(
        f"required {both.plugin(_HELP.RANK)} port=1",
        f"required {both.plugin(_HELP.AFFINITY)} mode=on",
    )
    done = both.run("srun", "--gpus-per-node=1", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "port=1 is no argument" in done.stderr
    assert "affinity 'on' is not off, warn or strict" in done.stderr
    assert both.idle()


def test_every_component_of_a_heterogeneous_job_has_ranks_of_the_step(both: Place) -> None:
    """Rank 0 is on node2: Slurm's own list of the step's nodes is sorted, and begins with node1."""
    said = Path(tempfile.mkdtemp(dir=both.folder))
    job = both.folder / "het.sh"
    job.write_text(
        "#!/bin/sh\n#SBATCH --nodes=1 --ntasks=2 --nodelist=node2 --output=het.out\n"
        "#SBATCH hetjob\n#SBATCH --nodes=1 --ntasks=1 --nodelist=node1\n"
        f"export SLURMKIT_REQUIRE_SPANK=1\n"
        f"srun --het-group=0,1 {PYTHON} {both.folder}/probe.py {said}\n"
        f"srun --het-group=0,1 {SLURMKIT} exec -- sh -c 'echo place $RANK $LOCAL_WORLD_SIZE'\n"
        f"srun --het-group=1 sh -c 'echo alone $RANK $WORLD_SIZE $MASTER_ADDR'\n"
    )
    done = both.run("sbatch", "--wait", str(job))
    out = (both.folder / "het.out").read_text()
    assert done.returncode == 0, out
    tasks = [json.loads(path.read_text())["env"] for path in sorted(said.iterdir())]
    assert [task["RANK"] for task in tasks] == ["0", "1", "2"]
    assert {task["WORLD_SIZE"] for task in tasks} == {"3"}
    assert [task["LOCAL_RANK"] for task in tasks] == ["0", "1", "0"]
    assert [task["NODE_RANK"] for task in tasks] == ["0", "0", "1"]
    assert [task["LOCAL_WORLD_SIZE"] for task in tasks] == ["2", "2", "1"]
    assert {task["MASTER_ADDR"] for task in tasks} == {"node2"}
    assert len({task["MASTER_PORT"] for task in tasks}) == 1
    for rank, task in enumerate(tasks):  # what `slurmkit exec` looks for
        where = f"@{task['SLURM_JOB_ID']}.{task['SLURM_STEP_ID']}.{rank}"
        assert task["SLURMKIT_SPANK"].endswith(where)
    assert sorted(re.findall(r"place (\d) (\d)", out)) == [("0", "2"), ("1", "2"), ("2", "1")]
    assert "alone 0 1 node1" in out


def two_sockets(place: Place) -> Topology:
    """A node with a GPU and a NIC beside each of two of this machine's CPUs."""
    ends = (CPUS[0], CPUS[-1])
    sides = [(side, f"pci0000:{side}0", cpu) for side, cpu in enumerate(ends)]
    path = place.folder / "node.json"
    node = Topology(
        host="node1",
        source="json",
        cpus_online=frozenset(ends),
        smt=tuple((cpu,) for cpu in ends),
        numa=tuple(NumaNode(side, frozenset({cpu}), 1000, (10, 20)) for side, _, cpu in sides),
        gpus=tuple(Gpu(side, f"0000:0{side + 1}:00.0", side, (root,)) for side, root, _ in sides),
        nics=tuple(
            Nic(f"mlx5_{side}", f"0000:0{side + 1}:01.0", side, (root,), role="compute")
            for side, root, _ in sides
        ),
    )
    path.write_text(json.dumps(to_json(node)))
    return node


def test_the_launcher_notices_the_one_node_that_lacks_the_plugin(both: Place) -> None:
    """/run is each node's own: node2 has no such file, and Slurm passes over it."""
    both.cluster.exec("node1", ["cp", both.plugin(_HELP.AFFINITY), "/run/one.so"], check=True)
    both.load("optional /run/one.so")
    command = ("srun", "--nodes=2", "--ntasks=2", SLURMKIT, "exec", "--", "echo", "ran")
    done = both.run(*command, SLURMKIT_REQUIRE_SPANK="1")
    assert done.returncode != 0
    assert done.stdout.count("ran") <= 1
    assert "node2: the SPANK plugin spank_slurmkit_affinity.so did not run" in done.stderr
    assert "node1: the SPANK plugin" not in done.stderr
    assert both.idle()


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")
def test_plugin_and_launcher_agree_in_one_step(both: Place) -> None:
    node = two_sockets(both)
    table = both.folder / "both.map"
    # Only this machine's own NUMA nodes can be bound to.
    table.write_text(re.sub("mems=[0-9]", "mems=0", plugin_map(node.replace(host="-"))))
    env = {"SLURMKIT_AFFINITY": "strict", "SLURMKIT_TOPOLOGY": str(both.folder / "node.json")}
    said = Path(tempfile.mkdtemp(dir=both.folder))
    step = ("srun", "--nodes=1", "--ntasks=2", "--gpus-per-node=2", "--slurmkit-affinity=strict")
    probe = (SLURMKIT, "exec", "--", PYTHON, str(both.folder / "probe.py"), str(said))
    done = both.run(*step, f"--slurmkit-map={table}", *probe, **env)
    assert (done.returncode, done.stderr) == (0, "")
    plans = plan_ranks(node, Request(num_ranks=2))
    for rank, path in enumerate(sorted(said.iterdir())):
        task = json.loads(path.read_text())
        assert task["cpus"] == sorted(plans[rank].cpus)
        assert {name: task["env"][name] for name in plans[rank].env} == plans[rank].env
        assert task["env"]["SLURMKIT_SPANK"].endswith(" bound")


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")
def test_the_launcher_notices_a_map_that_is_wrong(both: Place) -> None:
    """A map from before somebody moved a card: the plugin binds by it, discovery says otherwise."""
    two_sockets(both)
    swapped = both.map("swapped", CPUS[-1], CPUS[0])
    env = {"SLURMKIT_AFFINITY": "strict", "SLURMKIT_TOPOLOGY": str(both.folder / "node.json")}
    step = ("srun", "--nodes=1", "--ntasks=2", "--gpus-per-node=2", f"--slurmkit-map={swapped}")
    done = both.run(*step, SLURMKIT, "exec", "--", "echo", "ran", **env)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"expected cores of NUMA node 0 (CPUs {CPUS[0]}), found CPUs {CPUS[-1]}" in done.stderr


def test_the_launcher_notices_a_missing_plugin(both: Place) -> None:
    command = ("srun", "--nodes=2", "--ntasks=2", SLURMKIT, "exec", "--", "echo", "ran")
    done = both.run(*command, SLURMKIT_REQUIRE_SPANK="1")
    assert (done.returncode, done.stdout) == (0, "ran\nran\n"), done.stderr
    both.load(f"optional {both.plugin(_HELP.RANK)}")
    done = both.run(*command, SLURMKIT_REQUIRE_SPANK="1", SLURMKIT_SPANK="0.1.0@1.0.0")
    assert done.returncode != 0
    assert "ran" not in done.stdout
    for node in ("node1", "node2"):
        assert f"{node}: the SPANK plugin spank_slurmkit_affinity.so did not run" in done.stderr
