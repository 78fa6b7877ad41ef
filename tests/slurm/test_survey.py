"""A site of a real cluster, and topologies that a real slurmctld takes."""

import json
import os
import re
import runpy
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from slurmkit.hostlist import expand
from slurmkit.sandbox import Sandbox, SandboxUnavailableError, machine
from slurmkit.site.generate.release import Release
from slurmkit.site.lookup import read_site
from slurmkit.topology.fabric import SwitchGraph, slurm_topology, topology_plugin
from slurmkit.topology.fabric.ibnetdiscover import read_ibnetdiscover
from slurmkit.topology.fabric.table import read_csv

pytestmark = pytest.mark.slurm

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
FABRICS = Path(__file__).parents[1] / "fixtures" / "fabric" / "fabrics.py"
made = SimpleNamespace(**runpy.run_path(str(FABRICS)))


def up(name: str, **options: object) -> Sandbox:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        return Sandbox.up(f"test-{name}-{os.getpid()}", **options)  # type: ignore[arg-type]
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")


# -- site init ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dgx() -> Iterator[Sandbox]:
    """Two nodes that look like a DGX H100 and claim more memory than they have."""
    sandbox = up("survey", nodes=2, profile="dgx-h100")
    try:
        yield sandbox
    finally:
        sandbox.down()


def init(sandbox: Sandbox, name: str, *options: str, user: str = "") -> tuple[int, str]:
    argv = [SLURMKIT, "site", "init", str(sandbox.shared_dir / name), *options]
    if user:
        argv = ["setpriv", f"--reuid={user}", "--clear-groups", *argv]
    done = sandbox.exec("login", argv, timeout=120, cwd=sandbox.shared_dir)
    return done.returncode, done.stdout + done.stderr


def test_site_init_describes_the_cluster_that_it_sees(dgx: Sandbox) -> None:
    code, said = init(dgx, "mysite")
    assert code == 0, said
    folder = dgx.shared_dir / "mysite"
    text = (folder / "site.yaml").read_text()
    site = read_site(folder / "site.yaml").site
    # Two racks are two kinds, since jobs may ask for a rack.
    assert set(site.node_types) == {"dgx-h100-rack1", "dgx-h100-rack2"}
    for number, kind in enumerate(site.node_types.values(), 1):
        assert kind.nodes == f"node{number}"
        assert (kind.gpus, kind.gpu_type, kind.topology) == (8, "h100", "dgx-h100")
        assert (kind.sockets, kind.cores) == (2, 56)
        assert kind.features == ["gpu", f"rack{number}"]
    assert set(site.partitions) == {"debug", "long", "closed"}
    debug = site.partitions["debug"]
    assert (debug.default, debug.max_time, debug.nodes) == (True, "01:00:00", "node[1-2]")
    assert site.fabric is not None
    assert site.fabric.preset == "infiniband-ndr"
    assert site.name == dgx.name
    assert "preset: infiniband-ndr  # guessed: 8 compute NICs" in text
    assert "memory: declared 524288 MiB (slurm.conf), found" in text
    conf = (folder / "files/etc/slurm/slurm.conf").read_text()
    assert re.search(r"^NodeName=node1 .*Gres=gpu:h100:8", conf, re.MULTILINE)
    assert (folder / "files/etc/slurm/gres.conf").exists()


def test_site_init_overwrites_nothing(dgx: Sandbox) -> None:
    code, _ = init(dgx, "twice", "--no-jobs")
    assert code == 0
    before = (dgx.shared_dir / "twice" / "site.yaml").read_bytes()
    code, said = init(dgx, "twice", "--no-jobs")
    assert code == 2
    assert "nothing there is overwritten" in said
    assert (dgx.shared_dir / "twice" / "site.yaml").read_bytes() == before


def test_without_the_right_to_run_jobs_slurm_is_believed(dgx: Sandbox) -> None:
    def allow(groups: str) -> None:
        for partition in ("debug", "long"):
            words = [f"partitionname={partition}", f"allowgroups={groups}"]
            dgx.exec("login", ["scontrol", "update", *words], check=True)

    allow("root")
    try:
        code, said = init(dgx, "stranger", user="65534")
    finally:
        allow("ALL")
    assert code == 0, said
    text = (dgx.shared_dir / "stranger" / "site.yaml").read_text()
    assert "# - no job of mine ran in partition debug: srun failed" in text
    assert "# - not asked, so taken as Slurm declares them: node[1-2]" in text
    kinds = read_site(dgx.shared_dir / "stranger" / "site.yaml").site.node_types
    assert {kind.gpus for kind in kinds.values()} == {8}


def test_a_node_with_seven_gpus_is_shown(dgx: Sandbox) -> None:
    device = "/sys/bus/pci/devices/0000:43:00.0"
    real = dgx.exec("node2", ["readlink", "-f", device], check=True).stdout.strip()
    dgx.exec("node2", ["mount", "-t", "tmpfs", "fallen-off-the-bus", real], check=True)
    try:
        done = dgx.exec("login", [SLURMKIT, "site", "survey", "--json"], timeout=120)
    finally:
        dgx.exec("node2", ["umount", real], check=True)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    errors = [
        (item["hosts"], item["what"], item["declared"], item["found"])
        for item in report["mismatches"]
        if item["severity"] == "error"
    ]
    assert errors == [("node2", "gpus", "8 (slurm.conf)", "7")]
    assert [kind["num_seen"] for kind in report["kinds"]] == [1, 1]


# -- topologies -----------------------------------------------------------------------------------

_THOUSAND = [f"gpu{number:04d}" for number in range(1, 1001)]


def ib_fabric() -> SwitchGraph:
    """1,000 nodes with 8 rails in two pods, and the sandbox's own node in the first unit."""
    fabric = made.Fabric(["node1", *_THOUSAND], unit_size=32, pods=2)
    return read_ibnetdiscover(made.ibnetdiscover(fabric))


def nvl72() -> SwitchGraph:
    """14 racks of 18 trays; the sandbox's own node is a nineteenth tray of the first."""
    extra = "node1,leaf-1a leaf-1b,rack1,\n"
    return read_csv(made.nvl72(14) + extra)


def told(sandbox: Sandbox, word: str) -> Counter[str]:
    """How often each node stands in a leaf or block, as slurmctld says."""
    shown = ""
    deadline = time.monotonic() + 60
    while word not in shown and time.monotonic() < deadline:  # slurmctld is coming up
        shown = sandbox.exec("login", ["scontrol", "show", "topology"]).stdout
    lines = [line for line in shown.splitlines() if line.startswith(word)]
    leaves = [line for line in lines if " Level=" not in line or " Level=0 " in line]
    nodes = (re.search(r" Nodes=(\S+)", line) for line in leaves)
    return Counter(host for match in nodes if match for host in expand(match[1]))


@pytest.mark.parametrize(
    ("suite", "graph", "word"),
    [
        ("host", ib_fabric(), "SwitchName"),
        ("forky", ib_fabric(), "SwitchName"),
        ("trixie", nvl72(), "BlockName"),
        pytest.param("trixie", ib_fabric(), "SwitchName", marks=pytest.mark.long),
        pytest.param("forky", nvl72(), "BlockName", marks=pytest.mark.long),
    ],
    ids=["22.05-tree", "26.05-yaml", "24.11-blocks", "24.11-tree", "26.05-blocks"],
)
def test_slurmctld_takes_it_with_each_node_once(suite: str, graph: SwitchGraph, word: str) -> None:
    others = [host for host in graph.hosts if host != "node1"]
    ports = f"Port=[20001-{20000 + len(others)}]"
    sandbox = up(
        "fabric",
        nodes=1,
        gpus=0,
        cpus=2,
        memory_mib=1024,
        release=suite,
        # Nobody listens there: only slurmctld's own reading is of interest.
        slurm_conf=[f"NodeName={','.join(others)} NodeAddr=127.0.0.1 {ports} State=UNKNOWN"],
    )
    try:
        release = Release.parse(sandbox.slurm_version)
        etc = sandbox.layout.slurm_conf_path.parent
        for name, text in slurm_topology(graph, release).items():
            (etc / name).write_text(text)
        with sandbox.layout.slurm_conf_path.open("a") as conf:
            conf.writelines(f"{line}\n" for line in topology_plugin(graph, release))
        log = sandbox.layout.log_dir / "slurmctld.log"
        before = len(log.read_text())
        sandbox.kill("ctl")
        machine.plug(sandbox.layout, "ctl", connected=True)
        machine.start_hosts(sandbox.layout, ["ctl"])
        assert told(sandbox, word) == Counter(graph.hosts)
        complaints = [
            line
            for line in log.read_text()[before:].splitlines()
            if re.search(r"topo|switch|block|lack", line, re.IGNORECASE)
        ]
        assert complaints == []
    finally:
        sandbox.down()
