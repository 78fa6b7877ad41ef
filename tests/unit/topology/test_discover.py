import os
import shutil
import subprocess
import sys

import pytest

from slurmkit.errors import UsageError
from slurmkit.topology.discover import discover
from slurmkit.topology.distance import distance
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.hwloc_xml import from_hwloc_xml
from slurmkit.topology.model import Port

NODES = [
    "dgx-h100",
    "hgx-h100",
    "dgx-b200",
    "dgx-b300",
    "p5",
    "nd-h100-v5",
    "b300-interleaved",
    "gb200",
    "numa-minus-one",
]
SAME = ("host", "cpus_online", "smt", "numa", "gpus", "bridges")


@pytest.mark.parametrize("name", NODES)
def test_a_written_node_is_read_back(node, tmp_path, name):
    written = write_sysfs(node(name), tmp_path)
    found = discover(str(tmp_path))
    for field in SAME:
        assert getattr(found, field) == getattr(written, field), field
    undecided = {"role": "", "role_reason": ""}
    assert [nic.replace(**undecided) for nic in found.nics] == [
        nic.replace(**undecided) for nic in written.nics
    ]
    assert found.source == "sysfs"


@pytest.mark.parametrize("name", NODES)
def test_the_nics_for_collectives_are_found_by_structure(node, tmp_path, name):
    written = write_sysfs(node(name), tmp_path)
    expected = {nic.name for nic in written.nics if nic.role == "compute"}
    assert {nic.name for nic in discover(str(tmp_path)).nics if nic.role == "compute"} == expected


def test_bridges_to_the_nvswitches_are_management_with_or_without_the_mark(node, tmp_path):
    b200 = node("dgx-b200")
    bridges = {"mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"}
    active = Port(1, "ACTIVE", 400.0, "InfiniBand")
    nics = [nic.replace(ports=(active,), pci_id="15b3:1021") for nic in b200.nics]
    write_sysfs(b200.replace(nics=tuple(nics)), tmp_path / "marked")
    roles = {nic.name: nic.role for nic in discover(str(tmp_path / "marked")).nics}
    assert {name for name, role in roles.items() if role == "management"} == bridges
    # A user may not read the vital product data: then the structure alone has to keep them out.
    for vpd in (tmp_path / "marked").rglob("vpd"):
        vpd.unlink()
    roles = {nic.name: nic.role for nic in discover(str(tmp_path / "marked")).nics}
    assert not [name for name in bridges if roles[name] == "compute"]
    assert sum(role == "compute" for role in roles.values()) == 8


def test_bridges_behind_the_gpus_own_switches_are_told_by_kind(node, tmp_path):
    """Four slower HCAs beside four GPUs, as near as the NICs: the kind of most GPUs wins."""
    dgx = node("dgx-h100")
    slow = (Port(1, "ACTIVE", 200.0, "InfiniBand"),)
    moved = [
        nic.replace(path=dgx.gpus[number].path, numa=0, ports=slow)
        for number, nic in enumerate(nic for nic in dgx.nics if nic.role != "compute")
    ]
    compute = [nic for nic in dgx.nics if nic.role == "compute"]
    write_sysfs(dgx.replace(nics=(*compute, *moved)), tmp_path)
    found = {nic.name for nic in discover(str(tmp_path)).nics if nic.role == "compute"}
    assert found == {nic.name for nic in compute}


def test_bridges_of_the_same_rate_are_told_by_their_board(node, tmp_path):
    dgx = node("dgx-h100")
    rest = iter(nic for nic in dgx.nics if nic.role != "compute")
    ports = dgx.nics[0].ports
    moved = [
        nic.replace(
            path=gpu.path, numa=0, ports=ports, board_id="NVD0000000001", pci_id="15b3:1021"
        )
        for gpu, nic in zip(dgx.gpus, rest, strict=False)
    ]
    compute = [nic.replace(board_id="MT_0000000838") for nic in dgx.nics if nic.role == "compute"]
    write_sysfs(dgx.replace(nics=(*compute, *moved)), tmp_path)
    found = {nic.name: nic for nic in discover(str(tmp_path)).nics}
    assert {name for name, nic in found.items() if nic.role == "compute"} == {
        nic.name for nic in compute
    }
    assert found["mlx5_0"].board_id == "MT_0000000838"


def test_a_nic_that_trained_at_half_its_rate_keeps_its_role(node, tmp_path):
    dgx = node("dgx-h100")
    half = (Port(1, "ACTIVE", 200.0, "InfiniBand"),)
    nics = [nic.replace(ports=half) if nic.name == "mlx5_4" else nic for nic in dgx.nics]
    write_sysfs(dgx.replace(nics=tuple(nics)), tmp_path)
    found = {nic.name: nic.role for nic in discover(str(tmp_path)).nics}
    assert found["mlx5_4"] == "compute"


def test_a_nic_whose_port_is_down_keeps_its_role(node, tmp_path):
    dgx = node("dgx-h100")
    down = (Port(1, "DOWN", 10.0, "InfiniBand"),)
    nics = [nic.replace(ports=down) if nic.name == "mlx5_4" else nic for nic in dgx.nics]
    write_sysfs(dgx.replace(nics=tuple(nics)), tmp_path)
    found = {nic.name: nic for nic in discover(str(tmp_path)).nics}
    assert found["mlx5_4"].role == "compute"
    assert not found["mlx5_4"].active


def test_numa_node_minus_one_is_inferred_from_the_bridges_or_said_to_be_unknown(node, tmp_path):
    write_sysfs(node("numa-minus-one"), tmp_path)
    found = discover(str(tmp_path))
    assert [gpu.numa for gpu in found.gpus] == [0, 0, 0, 0, 1, 1, None, None]
    assert [gpu.index for gpu in found.gpus if gpu.numa_inferred] == [2, 3]
    assert {"gpus.6.numa", "gpus.7.numa"} <= set(found.unknown)
    assert any("follows from its place" in note for note in found.notes)
    # Two GPUs of unknown nodes still have their NIC behind the same switch.
    near = {nic.name: distance(found.gpus[6], nic) for nic in found.nics}
    assert near["mlx5_10"] == "PIX"


def test_one_numa_node_is_every_devices_node(node, tmp_path):
    dgx = node("dgx-h100")
    whole = dgx.numa[0].replace(cpus=dgx.cpus_online)
    write_sysfs(dgx.replace(numa=(whole,)), tmp_path, firmware_knows_numa=False)
    found = discover(str(tmp_path))
    assert {gpu.numa for gpu in found.gpus} == {0}
    assert all(gpu.numa_inferred for gpu in found.gpus)


def test_memory_only_numa_nodes_are_kept(node, tmp_path):
    write_sysfs(node("gb200"), tmp_path)
    found = discover(str(tmp_path))
    assert [item.index for item in found.numa if not item.cpus] == [2, 10, 18, 26]
    assert found.numa_node(10).memory_mib == 188_416


def test_interleaved_cpu_ids_come_from_the_lists(node, tmp_path):
    write_sysfs(node("b300-interleaved"), tmp_path)
    assert sorted(discover(str(tmp_path)).numa[0].cpus)[:4] == [0, 2, 4, 6]


def test_the_drivers_files_give_uuid_name_and_minor_and_excluded_gpus_do_not_count(node, tmp_path):
    dgx = node("dgx-h100")
    gpus = [
        gpu.replace(uuid=f"GPU-{gpu.index}", minor=7 - gpu.index, name="NVIDIA H100")
        for gpu in dgx.gpus
    ]
    write_sysfs(dgx.replace(gpus=tuple(gpus)), tmp_path)
    facts = tmp_path / "proc/driver/nvidia/gpus/0000:43:00.0/information"
    facts.write_text(facts.read_text() + "GPU Excluded: \t Yes\n")
    found = discover(str(tmp_path))
    assert [gpu.index for gpu in found.gpus] == list(range(7))
    assert found.gpus[1].uuid == "GPU-2"
    assert found.gpus[1].minor == 5
    assert "GPU 0000:43:00.0 is excluded by the driver and not counted." in found.notes


def test_gids_of_roce_are_read(node, tmp_path):
    dgx = node("dgx-h100")
    gids = (
        "0:IB/RoCE v1:fe80:0000:0000:0000:0a00:27ff:fe00:0001",
        "3:RoCE v2:0000:0000:0000:0000:0000:ffff:0a00:0001",
    )
    port = Port(1, "ACTIVE", 400.0, "Ethernet", gids)
    nics = [nic.replace(ports=(port,)) if nic.name == "mlx5_0" else nic for nic in dgx.nics]
    write_sysfs(dgx.replace(nics=tuple(nics)), tmp_path)
    folder = next(tmp_path.glob("sys/devices/**/mlx5_0/ports/1/gids"))
    for index in (1, 2, 4, 5):
        (folder / str(index)).write_text("0000:0000:0000:0000:0000:0000:0000:0000\n")
    found = next(nic for nic in discover(str(tmp_path)).nics if nic.name == "mlx5_0")
    assert found.ports == (port,)


def test_efa_has_a_rate_and_no_link_layer(node, tmp_path):
    write_sysfs(node("p5"), tmp_path)
    for folder in tmp_path.glob("sys/devices/**/ports/1"):
        (folder / "link_layer").write_text("Unspecified\n")
        (folder / "state").write_text("4: ACTIVE\n")
    port = discover(str(tmp_path)).nics[0].ports[0]
    assert port == Port(1, "ACTIVE", 100.0, "unknown")


def test_an_empty_tree_is_an_empty_node(tmp_path):
    found = discover(str(tmp_path))
    assert (found.gpus, found.nics, found.cpus_online) == ((), (), frozenset())
    assert len(found.numa) == 1


def test_a_tree_is_not_written_over_another(node, tmp_path):
    (tmp_path / "sys").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        write_sysfs(node("gb200"), tmp_path)


def test_discovery_of_this_machine_agrees_with_the_scheduler():
    found = discover()
    assert os.sched_getaffinity(0) <= found.cpus_online
    assert frozenset().union(*(item.cpus for item in found.numa)) == found.cpus_online
    assert sorted(cpu for group in found.smt for cpu in group) == sorted(found.cpus_online)


@pytest.mark.parametrize("name", ["dgx-h100", "b300-interleaved"])
def test_hwloc_reads_the_written_tree_alike(node, tmp_path, name):
    """An independent reader: lstopo sees the CPUs, NUMA nodes, GPUs and HCAs that we wrote."""
    if not shutil.which("lstopo"):
        pytest.skip("hwloc's lstopo is not installed")
    written = write_sysfs(node(name), tmp_path)
    result = subprocess.run(
        ["lstopo", "--of", "xml", "--whole-io"],
        env={**os.environ, "HWLOC_FSROOT": str(tmp_path), "HWLOC_COMPONENTS": "linux,stop"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    seen = from_hwloc_xml(result.stdout)
    assert [item.cpus for item in seen.numa] == [item.cpus for item in written.numa]
    assert seen.smt == written.smt
    assert [(gpu.pci, gpu.numa) for gpu in seen.gpus] == [
        (gpu.pci, gpu.numa) for gpu in written.gpus
    ]
    assert {(nic.name, nic.numa) for nic in seen.nics} == {
        (nic.name, nic.numa) for nic in written.nics
    }


def test_discovery_imports_nothing_slow():
    """`slurmkit exec` discovers on every rank's critical path."""
    code = (
        "import sys; before = set(sys.modules); import slurmkit.topology.discover; "
        "print(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    slow = {"dataclasses", "inspect", "typing", "json", "pathlib", "subprocess", "xml", "re"}
    assert result.returncode == 0, result.stderr
    assert not set(result.stdout.split()) & slow
