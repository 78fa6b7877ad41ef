"""From the answers in a folder to site.yaml, and to a report."""

import json
import runpy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import jsonschema
import pytest

from slurmkit.api.schemas import schema_of
from slurmkit.api.survey import init_site, survey
from slurmkit.errors import UsageError
from slurmkit.site.lookup import read_site
from slurmkit.slurm.inventory import read_inventory
from slurmkit.topology.export_json import to_json
from slurmkit.topology.model import Topology

_SEEN = runpy.run_path(str(Path(__file__).with_name("seen.py")))
dgx = _SEEN["dgx"]

NODES = (
    "NodeName=n1 Arch=x86_64 CoresPerSocket=56 CPUTot=224 AvailableFeatures=gpu"
    " Gres=gpu:h100:8(S:0-1) RealMemory=1900000 Sockets=2 Boards=1 State=IDLE ThreadsPerCore=2"
    " Partitions=gpu \n"
)
ANSWERS = {
    "config": "ClusterName = alpha\nSLURM_VERSION = 24.11.5\nSlurmctldHost[0] = ctl1\n"
    "SlurmctldHost[1] = ctl2(10.0.0.2)\nSlurmUser = slurm(64030)\nTaskPlugin = task/cgroup\n"
    "StateSaveLocation = /state\nAccountingStorageType = accounting_storage/slurmdbd\n"
    "AccountingStorageHost = dbd\nSlurmdTimeout = 300 sec\nMpiDefault = pmix_v4\n",
    "nodes": NODES + NODES.replace("=n1", "=n2"),
    "partitions": "PartitionName=gpu Nodes=n[1-2] Default=YES MaxTime=1-00:00:00 DefaultTime=NONE"
    " State=UP\nPartitionName=half Nodes=n1 Default=NO MaxTime=UNLIMITED State=UP\n",
    "qos": "normal|0|\nhigh|100|normal\n",
}


def folder_of(tmp_path: Path, answers: Mapping[str, str], hosts: Mapping[str, Topology]) -> Path:
    folder = tmp_path / "answers"
    (folder / "hosts").mkdir(parents=True)
    for name, text in answers.items():
        (folder / f"{name}.txt").write_text(text)
    for host, topology in hosts.items():
        (folder / "hosts" / f"{host}.json").write_text(json.dumps(to_json(topology)))
        (folder / "hosts" / f"{host}.slurmd").write_text(
            f"NodeName={host} CPUs=224 Boards=1 SocketsPerBoard=2 CoresPerSocket=56"
            " ThreadsPerCore=2 RealMemory=2000000\n"
        )
    return folder


def test_a_site_of_a_folder_of_answers(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ANSWERS, {"n1": dgx("n1"), "n2": dgx("n2")})
    report = init_site(tmp_path / "site", from_dir=folder)
    assert report.problem == ""
    site = read_site(tmp_path / "site" / "site.yaml").site
    assert site.name == "alpha"
    kind = site.node_types["dgx-h100"]
    assert (kind.nodes, kind.gpus, kind.gpu_type, kind.topology) == (
        "n[1-2]",
        8,
        "h100",
        "dgx-h100",
    )
    assert (kind.sockets, kind.cores, kind.threads) == (2, 56, 2)
    assert site.partitions["gpu"].node_type == "dgx-h100"
    assert site.partitions["half"].nodes == "n1"
    assert site.slurm.controllers == ["ctl1", "ctl2(10.0.0.2)"]
    assert (site.slurm.version, site.slurm.database, site.slurm.confine) == ("24.11", "dbd", True)
    assert site.tiers["normal"].preemptible
    assert site.fabric is not None
    assert site.fabric.preset == "infiniband-ndr"
    assert site.mpi == "pmix"
    conf = (tmp_path / "site" / "files" / "etc" / "slurm" / "slurm.conf").read_text()
    assert "NodeName=n[1-2] " in conf


def test_no_mpi_plugin_is_guessed_for_all_programs(tmp_path: Path) -> None:
    """Each program's MPI needs another one, which its job finds out."""
    answers = {**ANSWERS, "config": ANSWERS["config"].replace("pmix_v4", "none")}
    init_site(tmp_path / "site", from_dir=folder_of(tmp_path, answers, {}))
    assert read_site(tmp_path / "site" / "site.yaml").site.mpi == "auto"


def test_every_guess_is_marked_and_every_copy_has_its_source(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ANSWERS, {"n1": dgx("n1"), "n2": dgx("n2")})
    init_site(tmp_path / "site", from_dir=folder)
    lines = (tmp_path / "site" / "site.yaml").read_text().splitlines()
    values = [line for line in lines if ": " in line.partition("#")[0] + " "]
    body = [line for line in values if line.partition("#")[0].strip().partition(": ")[2]]
    assert body
    assert all("# guessed: " in line or "# from " in line for line in body)
    assert any("preset: infiniband-ndr  # guessed: 8 compute NICs" in line for line in body)


def test_what_site_yaml_cannot_say_is_named(tmp_path: Path) -> None:
    limits = "AllowGroups=staff AllowQos=ALL PriorityTier=10 OverSubscribe=NO"
    answers = {
        **ANSWERS,
        "nodes": NODES.replace(" Gres=", " NodeAddr=10.0.0.7 Gres="),
        "partitions": f"PartitionName=gpu Nodes=n1 Default=YES MaxTime=60 {limits} State=DRAIN\n",
    }
    init_site(tmp_path / "site", from_dir=folder_of(tmp_path, answers, {}))
    text = (tmp_path / "site" / "site.yaml").read_text()
    assert "# - n1: slurm.conf gives NodeAddr" in text
    assert "It is DRAIN now" in text
    assert "and site.yaml cannot: AllowGroups=staff PriorityTier=10\n" in text


def test_a_partition_without_nodes_does_not_get_all_of_them(tmp_path: Path) -> None:
    none = "PartitionName=later Nodes=(null) Default=NO MaxTime=UNLIMITED State=UP\n"
    answers = {**ANSWERS, "partitions": ANSWERS["partitions"] + none}
    report = init_site(tmp_path / "site", from_dir=folder_of(tmp_path, answers, {}))
    site = read_site(tmp_path / "site" / "site.yaml").site
    assert set(site.partitions) == {"gpu", "half"}
    assert "without nodes, so left out of site.yaml: partition later" in report.unseen


def test_what_was_not_seen_stands_in_site_yaml(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ANSWERS, {})
    report = init_site(tmp_path / "site", from_dir=folder)
    assert report.kinds[0].num_seen == 0
    text = (tmp_path / "site" / "site.yaml").read_text()
    assert "gpus: 8  # from Gres in slurm.conf" in text
    assert "topology:" not in text


def test_the_answers_are_kept_and_read_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ANSWERS, {"n1": dgx("n1")})
    init_site(tmp_path / "one", from_dir=folder)
    init_site(tmp_path / "two", from_dir=tmp_path / "one" / "survey")
    one, two = ((tmp_path / name / "site.yaml").read_text() for name in ("one", "two"))
    assert one == two


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ANSWERS, {})
    target = tmp_path / "site"
    target.mkdir()
    (target / "notes").write_text("mine")
    with pytest.raises(UsageError, match="nothing there is overwritten"):
        init_site(target, from_dir=folder)
    assert [path.name for path in target.iterdir()] == ["notes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers", "site"]


def test_a_fabric_goes_into_the_site(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ANSWERS, {"n1": dgx("n1"), "n2": dgx("n2")})
    cables = tmp_path / "cables.csv"
    cables.write_text("node,switch,uplink\nn1,a b,s\nlogin,a b,s\n")
    report = init_site(tmp_path / "site", from_dir=folder, fabric=[cables])
    assert "declared, but without a cable: n2" in report.unseen
    site = read_site(tmp_path / "site" / "site.yaml").site
    assert site.switches is not None
    assert site.affinity is not None
    assert site.affinity.wiring == "rails"
    assert (tmp_path / "site/files/etc/slurm/topology.conf").read_text().endswith("Nodes=n1\n")


def lldp(**switches: str) -> str:
    interfaces = [
        {"name": name, "chassis": [{"name": [{"value": switch}]}]}
        for name, switch in switches.items()
    ]
    return json.dumps({"lldp": [{"interface": interfaces}]})


def test_a_network_for_management_is_no_rail(tmp_path: Path) -> None:
    node = dgx("n1")
    first = next(nic for nic in node.nics if nic.role == "compute")
    nics = tuple(nic.replace(netdevs=("eth9",)) if nic == first else nic for nic in node.nics)
    hosts = {host: node.replace(host=host, nics=nics) for host in ("n1", "n2")}
    folder = folder_of(tmp_path, ANSWERS, hosts)
    (folder / "hosts" / "n1.lldp").write_text(lldp(eth0="office", eth9="leaf1"))
    (folder / "hosts" / "n2.lldp").write_text("lldpd is not ready")
    report = init_site(tmp_path / "site", from_dir=folder)
    assert "cables of eth0 were left out" in report.unseen
    assert any(words.startswith("n2.lldp:1:1: no JSON") for words in report.unseen)
    switches = read_site(tmp_path / "site" / "site.yaml").site.switches
    assert switches is not None
    assert {name: leaf.nodes for name, leaf in switches.leaves.items()} == {"leaf1": "n1"}


def test_a_site_is_compared_with_its_nodes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ANSWERS, {"n1": dgx("n1"), "n2": dgx("n2", num_gpus=7)})
    described = tmp_path / "site.yaml"
    described.write_text("node_types: {a: {nodes: 'n[1-2]', gpus: 4, cpus: 448, memory: 1T}}\n")
    report = survey(from_dir=folder, site=str(described))
    found = {(item.hosts, item.what, item.declared) for item in report.mismatches}
    assert ("n2", "gpus", "8 (slurm.conf)") in found
    assert ("n1", "gpus", "4 (site.yaml)") in found
    assert ("n[1-2]", "cpus", "448 (site.yaml)") in found
    jsonschema.validate(json.loads(json.dumps(asdict(report))), schema_of("site-survey"))


def test_a_folder_without_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no answers"):
        survey(from_dir=tmp_path)
    with pytest.raises(UsageError, match="there is no folder"):
        survey(from_dir=tmp_path / "anwsers")


def test_the_inventory_of_two_boards_and_no_qos() -> None:
    found = read_inventory({"nodes": NODES.replace("Boards=1", "Boards=2")})
    assert found.nodes[0].sockets == 4
    assert found.qos is None
