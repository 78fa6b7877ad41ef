"""From what nodes and Slurm say to kinds of nodes, mismatches and site.yaml."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import pytest

from slurmkit.api.schemas import schema_of
from slurmkit.api.survey import init_site, survey
from slurmkit.errors import UsageError
from slurmkit.site.lookup import read_site
from slurmkit.slurm.inventory import DeclaredNode, read_inventory
from slurmkit.survey.collect import parts_of
from slurmkit.survey.compare import mismatches, odd_nodes
from slurmkit.survey.facts import NodeFacts, Shape, read_node, read_slurmd_c
from slurmkit.survey.kinds import kinds
from slurmkit.topology.export_json import to_json
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile

DGX = Shape(2, 56, 2, 2_000_000)
DECLARED = DeclaredNode(
    "n1", 2, 56, 2, 224, 1_900_000, 8, "h100", ("gpu",), "IDLE", ("gpu",)
)  # fmt: skip


def dgx(host: str, num_gpus: int = 8) -> Topology:
    node = load_profile("dgx-h100")
    ports = tuple(
        nic.replace(ports=tuple(port.replace(state="ACTIVE") for port in nic.ports))
        for nic in node.nics
    )
    return node.replace(host=host, source="sysfs", gpus=node.gpus[:num_gpus], nics=ports)


def facts(hosts: str, num_gpus: int = 8) -> dict[str, NodeFacts]:
    return {host: NodeFacts(host, DGX, dgx(host, num_gpus)) for host in hosts.split()}


def declared(hosts: str, **changes: object) -> list[DeclaredNode]:
    return [replace(DECLARED, name=host, **changes) for host in hosts.split()]


# -- what a node says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        (
            "NodeName=n1 CPUs=224 Boards=1 SocketsPerBoard=2 CoresPerSocket=56 ThreadsPerCore=2"
            " RealMemory=2063926\nUpTime=1-02:03:04",
            Shape(2, 56, 2, 2063926),
        ),
        # Newer releases have more words, also about GPUs.
        (
            "Gres GPU plugin: ...\nNodeName=n1 CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=4"
            " ThreadsPerCore=2 RealMemory=100 Gres=gpu:h100:8\nFound gpu:h100:8 with Autodetect",
            Shape(1, 4, 2, 100),
        ),
        # hwloc could not read it: only the memory is worth something.
        (
            "NodeName=n1 CPUs=224 Boards=2 SocketsPerBoard=0 CoresPerSocket=112 ThreadsPerCore=2"
            " RealMemory=24105",
            Shape(memory_mib=24105),
        ),
        ("slurmd: command not found", None),
        ("", None),
    ],
)
def test_slurmd_c(line: str, shape: Shape | None) -> None:
    assert read_slurmd_c(line) == shape


def test_a_node_whose_slurmd_counts_nonsense_is_counted_by_its_kernel() -> None:
    bad = "NodeName=n1 CPUs=224 Boards=2 SocketsPerBoard=0 CoresPerSocket=112 ThreadsPerCore=2"
    found = read_node("n1", f"{bad} RealMemory=24105", json.dumps(to_json(dgx("n1"))))
    assert found.shape == Shape(2, 56, 2, 24105)
    assert found.notes == ("slurmd -C counts no sockets there",)


def test_a_node_without_slurmkit_is_still_read() -> None:
    line = "NodeName=n1 CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1"
    found = read_node("n1", f"{line} RealMemory=5", "")
    assert found.shape == Shape(1, 4, 1, 5)
    assert found.num_gpus is None
    newer = read_node("n1", f"{line} RealMemory=5 Gres=gpu:nvidia_h100_80gb_hbm3:7\n", "")
    assert newer.num_gpus == 7
    assert [str(item) for item in mismatches(declared("n1", cores=4, sockets=1), {"n1": newer})][
        -1
    ] == "n1: gpus: declared 8 (slurm.conf), found 7"
    assert kinds(declared("n1 n2"), {"n1": found})[0].gpus == 8
    assert "slurmkit did not run there" in found.notes[0]


def test_the_parts_of_an_answer() -> None:
    printed = "noise\n@@slurmd\nNodeName=n1\n@@topology\n{}\n@@lldp\n"
    assert parts_of(printed) == {"slurmd": "NodeName=n1\n", "topology": "{}\n"}


# -- kinds ----------------------------------------------------------------------------------------


def test_alike_nodes_are_one_kind_with_its_profile() -> None:
    (kind,) = kinds(declared("n1 n2 n3"), facts("n1 n2 n3"))
    assert (kind.name, kind.hosts, kind.gpus, kind.profile) == (
        "dgx-h100",
        ("n1", "n2", "n3"),
        8,
        "dgx-h100",
    )


def test_a_node_with_a_dead_gpu_is_a_broken_one_of_its_kind() -> None:
    seen = {**facts("n1"), **facts("n2 n3", num_gpus=7)}
    (kind,) = kinds(declared("n1 n2 n3"), seen)
    assert (kind.gpus, kind.profile) == (8, "dgx-h100")
    found = [str(item) for item in mismatches(declared("n1 n2 n3"), seen)]
    assert found == ["n[2-3]: gpus: declared 8 (slurm.conf), found 7"]


def test_one_node_alone_with_fewer_gpus_is_broken_and_two_are_declared_wrongly() -> None:
    (one,) = kinds(declared("n1"), facts("n1", num_gpus=7))
    (two,) = kinds(declared("n1 n2"), facts("n1 n2", num_gpus=7))
    assert (one.gpus, two.gpus) == (8, 7)


def test_nodes_that_fit_no_declaration_make_their_own_kinds() -> None:
    nodes = declared("n1 n2 n3 n4", gpus=0, gpu_type="")
    seen = {**facts("n1 n2"), **facts("n3 n4", num_gpus=4)}
    assert [(kind.hosts, kind.gpus) for kind in kinds(nodes, seen)] == [
        (("n1", "n2"), 8),
        (("n3", "n4"), 4),
    ]


def test_kinds_that_differ_in_features_or_memory_have_names_that_say_so() -> None:
    nodes = [
        *declared("n1", features=("gpu", "rack1")),
        *declared("n2", features=("gpu", "rack2")),
        *declared("n3", memory_mib=1024 * 1024),
    ]
    assert [kind.name for kind in kinds(nodes, {})] == [
        "h100x8-224cpu-rack1",
        "h100x8-224cpu-rack2",
        "h100x8-224cpu-1024g",
    ]


def test_nodes_without_slurm_are_grouped_by_what_they_are() -> None:
    seen = {
        **facts("n1 n2 n3"),
        **facts("n4", num_gpus=6),
        "c1": NodeFacts("c1", Shape(2, 32, 1, 1000)),
    }
    assert [(kind.name, kind.hosts) for kind in kinds([], seen)] == [
        ("dgx-h100", ("n1", "n2", "n3", "n4")),
        ("cpu-64", ("c1",)),
    ]


def test_a_node_that_lacks_gpus_is_told_of_without_slurm_too() -> None:
    seen = {**facts("n1 n2 n3"), **facts("n4", num_gpus=6)}
    (item,) = odd_nodes(kinds([], seen), seen)
    assert str(item) == "n4: gpus: declared 8 (most of dgx-h100), found 6"


# -- mismatches -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words", "severity"),
    [
        ({"memory_mib": 2_100_000}, "memory: declared 2100000 MiB", "error"),
        ({"memory_mib": 1_000_000}, "memory: declared 1000000 MiB", "note"),
        ({"cores": 60}, "2 x 60 x 2 (slurm.conf), found 2 x 56 x 2", "error"),
        # Slurm compares the products: a node declared by CPUs=224 alone is all right.
        ({"sockets": 224, "cores": 1, "threads": 1}, "224 x 1 x 1 (slurm.conf), found 2 x", "note"),
        ({"threads": 1}, "2 x 56 x 1 (slurm.conf), found 2 x 56 x 2", "note"),
        ({"gpus": 4}, "gpus: declared 4 (slurm.conf), found 8", "note"),
    ],
)
def test_mismatches(changes: Mapping[str, object], words: str, severity: str) -> None:
    (item,) = mismatches(declared("n1", **changes), facts("n1"))
    assert words in str(item)
    assert item.severity == severity


def test_what_slurm_believes_anyway_is_only_noted() -> None:
    nodes = declared("n1", memory_mib=9_000_000)
    assert [item.severity for item in mismatches(nodes, facts("n1"), overrides=True)] == ["note"]


def test_a_nic_that_is_down_is_shown() -> None:
    seen = facts("n1 n2")
    broken = dgx("n2")
    nics = tuple(
        nic.replace(ports=tuple(port.replace(state="DOWN") for port in nic.ports))
        if nic.name == "mlx5_3"
        else nic
        for nic in broken.nics
    )
    seen["n2"] = seen["n2"].replace(topology=broken.replace(nics=nics))
    found = odd_nodes(kinds(declared("n1 n2"), seen), seen)
    assert [str(item) for item in found] == [
        "n2: nics.mlx5_3.port1.state: declared ACTIVE (profile dgx-h100), found DOWN"
    ]


# -- site.yaml ------------------------------------------------------------------------------------

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
