"""slurmkit doctor finds faults that are planted on real nodes, and none where there are none."""

import json
import os
import runpy
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox, SandboxUnavailableError

pytestmark = pytest.mark.slurm

_HERE = Path(__file__).parent
_PARTS = runpy.run_path(str(_HERE / "roce_nodes.py"))
RoceNodes = _PARTS["RoceNodes"]
ODD: str = _PARTS["ODD"]
_PLANTED = runpy.run_path(str(_HERE / "doctor_faults.py"))
FAULTS = _PLANTED["FAULTS"]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Three nodes that look like GPU nodes on a RoCE fabric, with sshd."""
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    folder = tmp_path_factory.mktemp("doctor")
    folder.chmod(0o755)
    try:
        cluster = Sandbox.up(
            f"test-doctor-{os.getpid()}",
            nodes=3,
            profile="dgx-h100",
            scale=True,
            gpus=2,
            sshd=True,
            share=[folder],
            slurm_conf=[_PARTS["task_prolog"](folder)],
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        yield RoceNodes(cluster, folder)
    finally:
        cluster.down()


def wrong(report: dict[str, Any]) -> dict[str, str]:
    """Return the links that warn or fail, with all that is said of them."""
    found = {}
    for link in report["links"]:
        if link["verdict"] in ("warn", "fail"):
            said = [difference["text"] for difference in link["differences"]]
            bad = [a for a in link["hosts"] if a["verdict"] in ("warn", "fail")]
            said += [f"{answer['host']}: {answer['detail']}" for answer in bad]
            found[link["link"]] = "; ".join(said)
            assert link["todo"], link
    return found


def test_a_healthy_cluster_has_no_faults(nodes: Any) -> None:
    report = nodes.examine()
    found = wrong(report)
    if not nodes.may_lock_memory:
        # A container's root may not raise its own limit, and doctor is right to say so.
        assert "RDMA cannot register its buffers" in found.pop("memlock")
    slow = found.pop("shared", "")
    assert not slow or "MB/s" in slow  # the disk of a busy test machine
    assert found == {}
    assert report["hosts"] == list(nodes.cluster.nodes)
    seen = {link["link"] for link in report["links"] if link["verdict"] == "pass"}
    # What this cluster cannot show is only what it has no program for.
    assert {link["link"] for link in report["links"]} - seen <= {"ucx", "ssh", "memlock", "shared"}
    assert list(nodes.scratch.iterdir()) == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in _PLANTED["VARIANTS"] else [])
        for name in FAULTS
    ],
)
def test_a_planted_fault_is_found(nodes: Any, fault: str) -> None:
    plant, link, words = FAULTS[fault]
    with plant(nodes):
        report = nodes.examine("--only", link, *(["--deadline", "14"] if link == "shared" else []))
    found = wrong(report)
    assert link in found, report
    for word in words:
        assert word in found[link]


@pytest.mark.parametrize(
    ("limit", "link", "words"),
    [("-l 64", "memlock", "64 KiB"), ("-n 1024", "limits", "1024 open files")],
)
def test_limits_that_the_job_has(nodes: Any, limit: str, link: str, words: str) -> None:
    report = nodes.examine("--only", link, prefix=f"ulimit {limit};")
    assert words in wrong(report)[link]


def test_a_folder_that_hangs_hangs_nothing(nodes: Any) -> None:
    disk = nodes.cluster.make_disk("dead", slow=True)
    disk.slow(stuck=True)
    try:
        site = nodes.cluster.shared_dir / "dead.yaml"
        site.write_text(f"run_root: {nodes.cluster.shared_dir}/dead/runs\n")
        report = nodes.examine(
            *("--site", str(site), "--deadline", "14", "--only", "shared", "--only", "os"),
            shared=False,
        )
    finally:
        disk.slow()
    assert wrong(report) == {
        "shared": "node1: did not answer within 5 s; node2: did not answer within 5 s; "
        "node3: did not answer within 5 s"
    }


def test_hosts_by_ssh_and_one_that_refuses(nodes: Any) -> None:
    hosts = str(nodes.cluster.hosts_yaml)
    asked = ("--hosts", hosts, "--only", "ssh", "--only", "names")
    report = nodes.examine(*asked, "--only", "shared", nodes=False, shared=False)
    assert list(nodes.cluster.shared_dir.glob(".slurmkit-doctor-*")) == []
    assert "reached from here" in json.dumps(report)
    report = nodes.examine(*asked, "--ssh", nodes=False)
    assert (wrong(report), report["hosts"]) == ({}, list(nodes.cluster.nodes))
    nodes.on(ODD, "kill $(cat /run/sshd.pid)")
    try:
        report = nodes.examine(*asked, "--ssh", nodes=False)
    finally:
        folder = nodes.cluster.layout.state_dir / "ssh"
        nodes.on(ODD, f"/usr/sbin/sshd -f {folder}/sshd_config -h {folder}/host-{ODD}")
    assert [silent["host"] for silent in report["silent"]] == [ODD]
    assert "refused" in report["silent"][0]["why"]
    assert "node1: node2" in wrong(report)["ssh"]
    assert report["verdict"] == "fail"


def test_inside_an_allocation_all_of_its_nodes_are_examined(nodes: Any) -> None:
    words = f"{_PARTS['SLURMKIT']} doctor --json --only kernel --only clock"
    done = nodes.cluster.exec(
        "login", ["salloc", "-N2", "-n2", "bash", "-c", words], env=nodes.env(), timeout=60
    )
    report = json.loads(done.stdout)
    assert len(report["hosts"]) == 2
    assert wrong(report) == {}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--nodes", "4", "--wait", "1"], "Requested "),
        (["--nodes", "1", "--partition", "nope"], "Invalid partition name specified"),
    ],
)
def test_nodes_that_slurm_does_not_give(nodes: Any, words: list[str], why: str) -> None:
    argv = [str(_PARTS["SLURMKIT"]), "doctor", *words, "--only", "kernel"]
    done = nodes.cluster.exec("login", argv, env=nodes.env(), timeout=60)
    assert done.returncode == 1
    assert f"Slurm gives doctor no nodes: {why}" in done.stderr
    assert "sinfo" in done.stderr


def test_an_allreduce_over_the_nodes(nodes: Any) -> None:
    site = nodes.cluster.shared_dir / "ethernet.yaml"
    # Their RoCE interfaces have addresses, and lead nowhere.
    site.write_text("fabric: {preset: ethernet, socket_interface: eth0}\n")
    report = nodes.examine("--site", str(site), "--only", "allreduce")
    assert wrong(report) == {}
    details = {answer["detail"] for answer in report["links"][0]["hosts"]}
    assert len(details) == 1
    assert next(iter(details)).startswith("3 ranks add up, by ")


@pytest.mark.long
def test_an_allreduce_that_does_not_end(nodes: Any) -> None:
    site = nodes.cluster.shared_dir / "nowhere.yaml"
    site.write_text("fabric: {preset: ethernet, socket_interface: roce0}\n")
    found = wrong(nodes.examine("--site", str(site), "--only", "allreduce"))
    assert "it did not end within 45 s" in found["allreduce"]


def test_an_allreduce_where_rdma_does_not_work(nodes: Any) -> None:
    """The HCAs of these nodes are files, and the site's fabric forbids to fall back to TCP."""
    found = wrong(nodes.examine("--only", "allreduce"))
    assert "node1: its rank did not finish: " in found["allreduce"]


def test_people_see_what_differs_and_what_to_do(nodes: Any) -> None:
    words = [str(_PARTS["SLURMKIT"]), "doctor", "--nodes", "3", "--only", "mtu"]
    with FAULTS["mtu-of-the-way"][0](nodes):
        done = nodes.cluster.exec("login", words, env=nodes.env(), timeout=60)
    assert done.returncode == 1
    assert f"{ODD}: MTU of eth0 1400, the other 2: 1500" in done.stdout
    assert "ip link set IF mtu" in done.stdout


def test_each_node_finds_the_index_of_its_own_address(nodes: Any) -> None:
    """The fabric on its way to the ranks: site.yaml, plan, script, slurmkit exec, environment."""
    job = nodes.cluster.shared_dir / "gid.yaml"
    command = "'echo $SLURMD_NODENAME $NCCL_IB_GID_INDEX $UCX_IB_GID_INDEX $NCCL_IB_TC'"
    job.write_text(
        "name: gid\nresources: {nodes: 3, tasks_per_node: 1, time: 5m}\n"
        f"launch: {{kind: torch, command: [sh, -c, {command}]}}\n"
    )
    moved = [nodes.hca(ODD, at) / "ports/1" for at in range(8)]
    for port in moved:
        (port / "gids/3").rename(port / "gids/7")
        (port / "gid_attrs/types/3").rename(port / "gid_attrs/types/7")
    words = [str(_PARTS["SLURMKIT"]), "submit", "--site", str(nodes.site), str(job), "--follow"]
    env = {**nodes.env(), "HOME": str(nodes.cluster.shared_dir), "NCCL_IB_TIMEOUT": "19"}
    try:
        done = nodes.cluster.exec("login", words, env=env, timeout=90)
    finally:
        for port in moved:
            (port / "gids/7").rename(port / "gids/3")
            (port / "gid_attrs/types/7").rename(port / "gid_attrs/types/3")
    assert done.returncode == 0, done.stdout + done.stderr
    said = sorted(line.partition("] ")[2] for line in done.stdout.splitlines() if "] node" in line)
    assert said == ["node1 3 3 106", "node2 7 7 106", "node3 3 3 106"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "words"), [("kill", "connection failure"), ("freeze", "timed out")]
)
def test_a_node_that_is_gone_is_named_and_the_others_are_examined(
    cluster: Sandbox, fault: str, words: str
) -> None:
    go = cluster.shared_dir / f"doctor-go-{fault}"
    command = f"{_PARTS['SLURMKIT']} doctor --json --only kernel --deadline 20"
    wait = f"touch {go}.up; while [ ! -e {go} ]; do sleep 0.05; done; exec {command}"
    job = ["salloc", "-N3", "-n3", "--no-kill", "-w", "node[1-3]", "bash", "-c", wait]
    process = cluster.popen("login", job, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not Path(f"{go}.up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    try:
        getattr(cluster, fault)("node3")
        go.touch()
        out, err = process.communicate(timeout=90)
    finally:
        cluster.heal("node3")
    report = json.loads(out)
    assert report["hosts"] == ["node1", "node2"], err
    (silent,) = report["silent"]
    assert silent["host"] == "node3"
    assert words in silent["why"].lower()
    assert report["verdict"] == "fail"
