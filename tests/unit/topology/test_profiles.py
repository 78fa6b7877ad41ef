import pytest

from slurmkit.errors import UsageError
from slurmkit.topology.distance import nics_by_distance
from slurmkit.topology.model import Port
from slurmkit.topology.nccl_xml import from_nccl_xml, to_nccl_xml
from slurmkit.topology.profile import load_profile, profile_names
from slurmkit.topology.verify import verify

NAMES = ["dgx-b200", "dgx-b300", "dgx-h100", "hgx-h100", "nd-h100-v5", "p5"]

# GPU buses (domains for Azure) and the NICs of each GPU, from the published tables.
TABLE = {
    "dgx-h100": (
        "1b 43 52 61 9d c3 d1 df",
        "mlx5_0 mlx5_3 mlx5_4 mlx5_5 mlx5_6 mlx5_9 mlx5_10 mlx5_11",
    ),
    "hgx-h100": (
        "0f 2d 44 5b 89 a8 c0 d8",
        "mlx5_0,mlx5_1 mlx5_3,mlx5_4 mlx5_5,mlx5_6 mlx5_7,mlx5_8 mlx5_9,mlx5_10 "
        "mlx5_12,mlx5_13 mlx5_14,mlx5_15 mlx5_16,mlx5_17",
    ),
    "dgx-b200": (
        "1b 43 52 61 9d c3 d1 df",
        "mlx5_4 mlx5_7 mlx5_8 mlx5_9 mlx5_10 mlx5_13 mlx5_14 mlx5_15",
    ),
}


def test_every_profile_is_there():
    assert profile_names() == NAMES
    with pytest.raises(UsageError, match="no profile 'dgx-x'"):
        load_profile("dgx-x")


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_is_a_whole_node(name):
    profile = load_profile(name)
    assert len(profile.gpus) == 8
    assert [gpu.numa for gpu in profile.gpus] == [0] * 4 + [1] * 4
    assert len({nic.name for nic in profile.nics}) == len(profile.nics)
    assert frozenset().union(*(item.cpus for item in profile.numa)) == profile.cpus_online
    assert sorted(cpu for group in profile.smt for cpu in group) == sorted(profile.cpus_online)
    assert any(note.startswith("Source:") for note in profile.notes)


@pytest.mark.parametrize("name", list(TABLE))
def test_buses_and_nics_are_those_of_the_tables(name):
    profile = load_profile(name)
    buses, nics = TABLE[name]
    assert [gpu.pci.split(":")[1] for gpu in profile.gpus] == buses.split()
    nearest = []
    for gpu in profile.gpus:
        pairs = nics_by_distance(profile, gpu)
        nearest.append(",".join(nic.name for kind, nic in pairs if kind == pairs[0][0]))
    assert nearest == nics.split()


def test_what_is_unknown_stays_unknown():
    b300 = load_profile("dgx-b300")
    assert {gpu.pci for gpu in b300.gpus} == {""}
    assert "gpus.5.nics" in b300.unknown
    assert nics_by_distance(b300, b300.gpus[5])[0][0] == "NODE"
    assert {nic.pci for nic in load_profile("dgx-b200").nics} == {""}


@pytest.mark.parametrize("name", NAMES)
def test_a_node_of_the_kind_matches_its_profile(name):
    assert verify(load_profile(name), load_profile(name)) == []


def test_an_imported_node_matches_but_for_what_the_format_lacks():
    profile = load_profile("hgx-h100")
    assert verify(from_nccl_xml(to_nccl_xml(profile)), profile) == []


def test_other_numbers_of_nics_are_a_note_and_no_error(node):
    profile = load_profile("dgx-h100")
    renumbered = [
        nic.replace(name=f"mlx5_{30 + number}") for number, nic in enumerate(profile.nics)
    ]
    found = verify(profile.replace(nics=tuple(renumbered)), profile)
    assert {item.severity for item in found} == {"note"}
    assert {item.key for item in found} == {f"gpus.{index}.nics.names" for index in range(8)}


def test_faults_are_found(node):
    profile = load_profile("dgx-h100")
    gpus = (profile.gpus[0].replace(numa=1), *profile.gpus[1:7])
    ports = {
        "mlx5_3": (Port(1, "DOWN", 10.0, "InfiniBand"),),
        "mlx5_4": (Port(1, "ACTIVE", 200.0, "InfiniBand"),),
    }
    nics = [nic.replace(ports=ports.get(nic.name, nic.ports)) for nic in profile.nics]
    found = {
        item.key: item for item in verify(profile.replace(gpus=gpus, nics=tuple(nics)), profile)
    }
    assert (found["gpus.count"].expected, found["gpus.count"].found) == ("8", "7")
    assert found["gpus.0.numa"].found == "1"
    assert found["nics.mlx5_3.port1.state"].found == "DOWN"
    assert found["nics.mlx5_4.rate_gbps"].expected == "400.0"
    assert {item.severity for item in found.values()} == {"error"}


def test_interleaved_cpu_ids_are_found(node):
    found = verify(node("b300-interleaved"), load_profile("dgx-b300"))
    assert [item.key for item in found if item.severity == "error"] == [
        "numa.0.cpus",
        "numa.1.cpus",
    ]


def test_a_machine_without_gpus_does_not_match():
    profile = load_profile("dgx-h100")
    found = {item.key for item in verify(profile.replace(gpus=(), nics=()), profile)}
    assert {"gpus.count", "nics.count"} <= found
