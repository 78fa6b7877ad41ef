import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.errors import UsageError
from slurmkit.topology.cpuset import format_cpulist
from slurmkit.topology.distance import nics_by_distance
from slurmkit.topology.export_gres import gres_lines
from slurmkit.topology.export_json import from_json, to_json
from slurmkit.topology.export_map import plugin_map
from slurmkit.topology.hwloc_xml import from_hwloc_xml
from slurmkit.topology.load import load_topology
from slurmkit.topology.model import Gpu, MigDevice, NvLinkPeer
from slurmkit.topology.nccl_xml import from_nccl_xml, to_nccl_xml
from slurmkit.topology.profile import load_profile

NODES = ["dgx-h100", "hgx-h100", "p5", "b300-interleaved", "gb200", "numa-minus-one"]

# What lstopo of hwloc 2.9 writes, cut to what matters: two NUMA nodes, a switch with GPU and HCA.
HWLOC = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
  <object type="Machine" os_index="0" cpuset="0x0000000f" nodeset="0x00000003" gp_index="1">
    <info name="HostName" value="gpu1"/>
    <object type="Package" os_index="0" cpuset="0x00000005" nodeset="0x00000001" gp_index="2">
      <object type="NUMANode" os_index="0" cpuset="0x00000005" local_memory="8589934592"/>
      <object type="Core" os_index="0" cpuset="0x00000005">
        <object type="PU" os_index="0" cpuset="0x00000001"/>
        <object type="PU" os_index="2" cpuset="0x00000004"/>
      </object>
      <object type="Bridge" bridge_type="0-1" depth="0" bridge_pci="0000:[15-1f]">
        <object type="Bridge" bridge_type="1-1" depth="1" bridge_pci="0000:[16-1f]"
            pci_busid="0000:15:01.0" pci_type="0604 [8086:352a] [0000:0000] 30">
          <object type="Bridge" bridge_type="1-1" depth="2" bridge_pci="0000:[17-1f]"
              pci_busid="0000:16:00.0" pci_type="0604 [1000:c030] [1000:a064] b0">
            <object type="Bridge" bridge_type="1-1" depth="3" bridge_pci="0000:[18-18]"
                pci_busid="0000:17:00.0" pci_type="0604 [1000:c030] [1000:a064] b0">
              <object type="PCIDev" pci_busid="0000:18:00.0" pci_link_speed="63.015385"
                  pci_type="0207 [15b3:1021] [15b3:0041] 00">
                <object type="OSDev" name="ibs1" osdev_type="2">
                  <info name="Address" value="00:00:10:29:fe:80"/>
                </object>
                <object type="OSDev" name="mlx5_0" osdev_type="3">
                  <info name="NodeGUID" value="9a70:5000:03ae:6d94"/>
                  <info name="Port1State" value="4"/>
                  <info name="Port1GID0" value="fe80:0000:0000:0000:9a70:5000:03ae:6d94"/>
                </object>
              </object>
            </object>
            <object type="Bridge" bridge_type="1-1" depth="3" bridge_pci="0000:[1b-1b]"
                pci_busid="0000:17:01.0" pci_type="0604 [1000:c030] [1000:a064] b0">
              <object type="PCIDev" pci_busid="0000:1b:00.0" pci_link_speed="63.015385"
                  pci_type="0302 [10de:2330] [10de:16c1] a1">
                <object type="OSDev" name="nvml0" osdev_type="5" subtype="NVML">
                  <info name="NVIDIAUUID" value="GPU-1111"/>
                  <info name="GPUModel" value="NVIDIA H100 80GB HBM3"/>
                </object>
              </object>
            </object>
          </object>
        </object>
      </object>
    </object>
    <object type="Package" os_index="1" cpuset="0x0000000a" nodeset="0x00000002" gp_index="3">
      <object type="NUMANode" os_index="1" cpuset="0x0000000a" local_memory="8589934592"/>
      <object type="Core" os_index="1" cpuset="0x0000000a">
        <object type="PU" os_index="1" cpuset="0x00000002"/>
        <object type="PU" os_index="3" cpuset="0x00000008"/>
      </object>
    </object>
  </object>
  <distances2 type="NUMANode" nbobjs="2" kind="5" name="NUMALatency" indexing="os">
    <indexes length="4">0 1 </indexes>
    <u64values length="12">10 21 21 10 </u64values>
  </distances2>
</topology>
"""


@pytest.mark.parametrize("name", NODES)
def test_json_round_trip(node, name):
    topology = node(name)
    gpu = topology.gpus[0].replace(
        uuid="GPU-1",
        mig=(MigDevice("MIG-1", "1g.10gb"),),
        nvlink_peers=(NvLinkPeer("0000:05:00.0", 4),),
    )
    topology = topology.replace(gpus=(gpu, *topology.gpus[1:]))
    assert from_json(json.loads(json.dumps(to_json(topology)))) == topology


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a topology"),
        ({"version": 2}, "version 2"),
        ({"numa": 5}, "malformed"),
        ({"gpus": [{"index": 0}]}, "malformed"),
        ({"gpus": [{"index": 0, "pci": "", "numa": "0"}]}, "Gpu.numa is '0'"),
        ({"nics": [{"name": "a", "pci": "", "numa": 0, "colour": 1}]}, "no field colour"),
        ({"smt": [["x"]]}, "malformed"),
        ({"smt": [[]]}, "a core without CPUs"),
        ({"cpus_online": "x"}, "not a list of CPUs"),
    ],
)
def test_json_of_another_shape_is_refused(node, change, message):
    with pytest.raises(UsageError, match=message):
        from_json({**to_json(node("dgx-h100")), **change})


JUNK = st.sampled_from(
    ["null", "true", "-1", "0.5", '"x"', "[]", "{}", '["x"]', "[null]", '{"a": 1}']
)


@given(st.data())
def test_mutilated_json_is_read_or_refused_and_never_breaks(node, data):
    values = json.loads(json.dumps(to_json(node("gb200"))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = values
        while place:
            at = data.draw(
                st.sampled_from(sorted(place))
                if isinstance(place, dict)
                else st.integers(0, len(place) - 1)
            )
            if not isinstance(place[at], (dict, list)) or data.draw(st.integers(0, 3)) == 0:
                place[at] = json.loads(data.draw(JUNK))
                break
            place = place[at]
    with contextlib.suppress(UsageError):
        assert from_json(values).host


@given(st.text(alphabet="<>/ =\"'systemcpuinad0123f\n", max_size=200))
def test_any_text_is_read_or_refused(text):
    for read in (from_nccl_xml, from_hwloc_xml):
        with pytest.raises(UsageError):
            read(text)


def test_nccl_round_trip(node, fixture_dir):
    """What the format can say comes back; once imported, nothing is lost any more."""
    source = node("hgx-h100")
    imported = from_nccl_xml(to_nccl_xml(source), host="hgx-h100")
    assert from_nccl_xml(to_nccl_xml(imported), host="hgx-h100") == imported
    assert imported == load_topology(fixture_dir / "hgx-h100.nccl.xml").replace(host="hgx-h100")
    assert [(gpu.index, gpu.pci, gpu.numa, gpu.path[1:], gpu.link) for gpu in imported.gpus] == [
        (gpu.index, gpu.pci, gpu.numa, gpu.path[1:], gpu.link) for gpu in source.gpus
    ]
    # NCCL merges the functions of a NIC into the first, and counts their ports through.
    assert [(nic.name, nic.pci[:-1], nic.rate_gbps, nic.role) for nic in imported.nics] == [
        (nic.name, nic.pci[:-1], nic.rate_gbps, nic.role) for nic in source.nics
    ]
    assert {port.number for nic in imported.nics for port in nic.ports} == {1}
    assert [item.cpus for item in imported.numa] == [item.cpus for item in source.numa]
    assert imported.smt == source.smt


def test_nearest_nics_of_an_nccl_file(fixture_dir):
    topology = load_topology(fixture_dir / "hgx-h100.nccl.xml")
    pairs = [nics_by_distance(topology, gpu)[:2] for gpu in topology.gpus]
    assert [(kind, nic.name) for kind, nic in pairs[4]] == [("PXB", "mlx5_9"), ("PXB", "mlx5_10")]
    assert {kind for pair in pairs for kind, _ in pair} == {"PXB"}


def test_smt_is_not_assumed_where_masks_leave_doubt(node):
    imported = from_nccl_xml(to_nccl_xml(node("b300-interleaved")))
    assert imported.smt == ()
    assert "smt" in imported.unknown


def test_nvlinks_survive_nccl_xml(node):
    source = node("dgx-h100")
    peers = (NvLinkPeer("0000:05:00.0", 4), NvLinkPeer("0000:43:00.0", 2, "gpu"))
    gpus = (source.gpus[0].replace(nvlink_peers=peers), *source.gpus[1:])
    imported = from_nccl_xml(to_nccl_xml(source.replace(gpus=gpus)))
    assert imported.gpus[0].nvlink_peers == peers


def test_an_unknown_address_cannot_be_written_for_nccl():
    with pytest.raises(UsageError, match="GPU 0 has no known PCI address"):
        to_nccl_xml(load_profile("dgx-b300"))


def test_sockets_and_missing_attributes_of_nccl_files():
    text = """<system version="1"><cpu numaid="-1" affinity="f"><nic><net name="eth0"/></nic>
    <pci busid="0000:03:00.0"><gpu dev="0"/></pci></cpu></system>"""
    topology = from_nccl_xml(text)
    assert topology.gpus[0].numa is None
    assert topology.nics == ()
    assert topology.notes == ("eth0: no PCI device, so not for RDMA.",)


def test_hwloc_import(tmp_path):
    path = tmp_path / "node.xml"
    path.write_text(HWLOC)
    topology = load_topology(path)
    assert (topology.host, topology.source) == ("gpu1", "hwloc")
    assert topology.smt == ((0, 2), (1, 3))
    assert [(item.memory_mib, item.distances) for item in topology.numa] == [
        (8192, (10, 21)),
        (8192, (21, 10)),
    ]
    gpu, nic = topology.gpus[0], topology.nics[0]
    assert gpu == Gpu(
        0, "0000:1b:00.0", 0, ("pci0000:15", "0000:16:00.0"), "GPU-1111",
        "NVIDIA H100 80GB HBM3", "10de:2330",
    )  # fmt: skip
    assert nics_by_distance(topology, gpu) == [("PIX", nic)]
    assert (nic.role, nic.netdevs, nic.ports[0].state) == ("compute", ("ibs1",), "ACTIVE")
    assert nic.ports[0].gids == ("0:IB:fe80:0000:0000:0000:9a70:5000:03ae:6d94",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<system version='1'>", "not XML"),
        ("<other/>", "hwloc"),
        ("<system/>", "no <system> with <cpu>"),
        ("{", "not JSON"),
        ("[]", "not a topology"),
        ("", "not JSON"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><system/>', "entities"),
        ("<system>" + "<pci>" * 300 + "</pci>" * 300 + "</system>", "deeper"),
        ("<system><cpu numaid='0' affinity='zz'/></system>", "CPU mask"),
    ],
)
def test_files_that_are_no_topology_are_refused_with_their_name(tmp_path, text, message):
    path = tmp_path / "node"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_topology(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        load_topology(tmp_path / "absent.xml")


def test_gres_lines_count_cores_as_slurm_does(node):
    assert gres_lines(node("dgx-h100")) == [
        "Name=gpu Type=h100 File=/dev/nvidia[0-3] Cores=0-55",
        "Name=gpu Type=h100 File=/dev/nvidia[4-7] Cores=56-111",
    ]
    # CPU ids are in turn on this node, Slurm's core numbers are not.
    assert gres_lines(node("b300-interleaved"), "gpu[1-4]") == [
        "NodeName=gpu[1-4] Name=gpu Type=b300 File=/dev/nvidia[0-3] Cores=0-63",
        "NodeName=gpu[1-4] Name=gpu Type=b300 File=/dev/nvidia[4-7] Cores=64-127",
    ]


def test_gres_lines_use_the_drivers_minor_numbers_and_leave_unknown_cores_out(node):
    source = node("numa-minus-one")
    gpus = [gpu.replace(minor=7 - gpu.index) for gpu in source.gpus]
    lines = gres_lines(source.replace(gpus=tuple(gpus)))
    assert lines[0] == "Name=gpu Type=h100 File=/dev/nvidia[4-7] Cores=0-55"
    assert lines[-1] == "Name=gpu Type=h100 File=/dev/nvidia[0-1]"


def test_cpu_lists_stand_in_the_json(node):
    data = to_json(node("dgx-h100"))
    assert data["numa"][0]["cpus"] == "0-55,112-167"
    assert data["cpus_online"] == format_cpulist(range(224))


def test_the_plugins_map_has_a_line_per_gpu(node):
    source = node("dgx-h100")
    gpus = [gpu.replace(uuid=f"GPU-{gpu.index}", minor=7 - gpu.index) for gpu in source.gpus]
    lines = plugin_map(source.replace(gpus=tuple(gpus))).splitlines()
    assert lines[0] == "slurmkit-map 1 dgx-h100"
    assert len(lines) == 9
    head, _, env = lines[1].partition(" env=")
    assert head == (
        "gpu 0 0000:1b:00.0 cpus=0-13,112-125 mems=0 policy=preferred "
        "minor=7 uuid=GPU-0 nics=mlx5_0"
    )
    assert "UCX_NET_DEVICES=mlx5_0:1" in env.split("\x1f")


def test_a_map_needs_addresses():
    with pytest.raises(UsageError, match="GPU 0 has no known PCI address"):
        plugin_map(load_profile("dgx-b300"))
    empty = load_profile("dgx-b300").replace(gpus=(), nics=())
    assert plugin_map(empty) == "slurmkit-map 1 dgx-b300\n"
