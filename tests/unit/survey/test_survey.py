"""From what nodes and Slurm say to kinds of nodes and mismatches."""

import json
import runpy
from collections.abc import Mapping
from pathlib import Path

import pytest

from slurmkit.survey.collect import parts_of
from slurmkit.survey.compare import mismatches, odd_nodes
from slurmkit.survey.facts import NodeFacts, Shape, read_node, read_slurmd_c
from slurmkit.survey.kinds import kinds
from slurmkit.topology.export_json import to_json

_SEEN = runpy.run_path(str(Path(__file__).with_name("seen.py")))
dgx, facts, declared = (_SEEN[name] for name in ("dgx", "facts", "declared"))


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
