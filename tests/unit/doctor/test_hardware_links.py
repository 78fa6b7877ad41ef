"""Drivers, NICs, the fabric and GPUDirect, on a prepared tree of /sys and /proc."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.doctor.checks import (
    acs,
    gpudirect,
)
from slurmkit.doctor.checks.driver import version_of
from slurmkit.doctor.link import Answer
from slurmkit.doctor.netdev import interfaces
from slurmkit.doctor.qos import from_dcb, from_mlnx_qos
from slurmkit.site.fabric_presets import Expectation
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import Port, Topology
from slurmkit.topology.profile import load_profile

Put = Callable[[str, str], None]
Look = Callable[..., Answer]


@pytest.fixture
def node(tmp_path: Path, put: Put) -> Path:
    """A DGX H100 whose compute NICs are on RoCE, as its /sys and /proc show it."""
    platform = in_small(load_profile("dgx-h100"))
    nics = []
    for at, nic in enumerate(platform.nics):
        if not nic.ports:
            nics.append(nic)
            continue
        mapped = f"0000:0000:0000:0000:0000:ffff:0a01:{at:04x}"
        port = Port(1, "ACTIVE", 400.0, "Ethernet", (f"3:RoCE v2:{mapped}",))
        nics.append(nic.replace(ports=(port,), netdevs=(f"none{at}",)))
    written = write_sysfs(platform.replace(nics=tuple(nics)), tmp_path)
    for nic in written.nics:
        for name in nic.netdevs:
            folder = f"sys/bus/pci/devices/{nic.pci}/net/{name}"
            put(f"{folder}/mtu", "9000\n")
            put(f"{folder}/operstate", "up\n")
            put(f"{folder}/speed", "400000\n")
            for half in ("roce_np", "roce_rp"):
                put(f"{folder}/ecn/{half}/enable/3", "1\n")
    put("proc/driver/nvidia/version", _OPEN)
    put("proc/modules", "nvidia_peermem 16384 0 - Live 0x0\n")
    put("proc/sys/kernel/osrelease", "5.15.0-1\n")
    return tmp_path


def in_small(platform: Topology) -> Topology:
    """Return a platform with two GPUs, their NICs, and two CPUs per NUMA node: that is quicker."""
    numa = tuple(
        node.replace(cpus=frozenset((2 * node.index, 2 * node.index + 1))) for node in platform.numa
    )
    online = frozenset(cpu for node in numa for cpu in node.cpus)
    gpus = platform.gpus[:2]
    roots = {gpu.path for gpu in gpus}
    nics = tuple(nic for nic in platform.nics if nic.path in roots)
    return platform.replace(numa=numa, cpus_online=online, smt=(), gpus=gpus, nics=nics)


_OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"
_CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6\n"


def compute_folder(root: Path, at: int = 0) -> Path:
    hcas = [p for p in (root / "sys/class/infiniband").iterdir() if (p / "ports/1/state").exists()]
    return sorted(hcas)[at].resolve()


@pytest.mark.usefixtures("node")
def test_a_node_that_is_right_is_right(look: Look) -> None:
    for link in ("ports", "interfaces", "mtu", "gids", "ecn", "driver", "gpudirect"):
        answer = look(link)
        assert answer.verdict == "pass", (link, answer)


FAULTS = {
    "port down": ("ports", "ports/1/state", "1: DOWN\n", "is DOWN"),
    "port slow": ("ports", "ports/1/rate", "200 Gb/sec (2X NDR)\n", "200 of 400 Gb/s"),
    "no address": ("gids", "ports/1/gids/3", "0000:" * 7 + "0000\n", "no RoCE v2 GID"),
    "RoCE v1": ("gids", "ports/1/gid_attrs/types/3", "IB/RoCE v1\n", "no RoCE v2 GID"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_port(node: Path, fault: str, look: Look) -> None:
    link, path, text, words = FAULTS[fault]
    (compute_folder(node) / path).write_text(text)
    answer = look(link)
    assert (answer.verdict, words in answer.detail) == ("fail", True), answer


@pytest.mark.usefixtures("node")
def test_all_ports_slower_than_the_site_says_is_found_without_a_majority(
    look: Look, roce: Expectation
) -> None:
    assert look("ports", fabric=roce._replace(rate_gbps=800.0)).verdict == "fail"
    assert look("ports", fabric=Expectation()).verdict == "pass"


@pytest.mark.parametrize(
    ("link", "path", "text", "words"),
    [
        ("mtu", "mtu", "1500\n", "has 1500, not 9000"),
        ("interfaces", "operstate", "down\n", "is switched off"),
        ("ecn", "ecn/roce_rp/enable/3", "0\n", "reaction (roce_rp) is off"),
    ],
)
def test_faults_of_an_interface(
    node: Path, link: str, path: str, text: str, words: str, look: Look
) -> None:
    folder = next(iter((compute_folder(node).parents[1] / "net").iterdir()))
    (folder / path).write_text(text)
    answer = look(link)
    assert (answer.verdict, words in answer.detail) == ("fail", True), answer


def test_a_small_mtu_is_a_warning_where_no_site_says_what_it_should_be(
    node: Path, look: Look
) -> None:
    folder = next(iter((compute_folder(node).parents[1] / "net").iterdir()))
    (folder / "mtu").write_text("1500\n")
    assert look("mtu", fabric=Expectation()).verdict == "warn"


def test_the_way_to_a_host_is_that_to_the_address_by_which_ssh_reaches_it(look: Look) -> None:
    own = next((item for item in interfaces() if item.address), None)
    if own is None:
        pytest.skip("this machine has no interface with an IPv4 address")
    hosts, addresses = ("node1", "no-such-host.invalid"), ("192.0.2.1", own.address)
    answer = look("mtu", hosts=hosts, addresses=addresses)
    assert dict(answer.facts) == {f"MTU of {own.name}": str(own.mtu)}
    assert look("mtu", hosts=hosts).verdict == "skipped"


def test_a_site_without_rdma_has_no_faults_of_it(node: Path, look: Look) -> None:
    (compute_folder(node) / "ports/1/state").write_text("1: DOWN\n")
    ethernet = Expectation("ethernet", rdma=False)
    assert look("ports").verdict == "fail"
    for link in ("rdma-driver", "ports", "gids", "pfc", "ecn", "dscp", "gpudirect"):
        answer = look(link, fabric=ethernet)
        assert (answer.verdict, "(ethernet) has no RDMA" in answer.detail) == ("skipped", True)
    # What its interfaces can do matters all the same.
    assert look("mtu", fabric=ethernet._replace(mtu=1500)).verdict == "fail"


@pytest.mark.usefixtures("node")
def test_an_address_in_another_network(look: Look, roce: Expectation) -> None:
    answer = look("gids", fabric=roce._replace(subnet="10.2.0.0/16"))
    assert answer.verdict == "fail"
    assert "in 10.2.0.0/16" in answer.detail


def test_gpus_without_a_driver(node: Path, look: Look) -> None:
    (node / "proc/driver/nvidia/version").unlink()
    answer = look("driver")
    assert (answer.verdict, "no driver is loaded" in answer.detail) == ("fail", True)


def test_a_node_without_any_of_it_is_skipped(look: Look) -> None:
    for link in ("driver", "rdma-driver", "ports", "gids", "pfc", "ecn", "dscp", "gpudirect"):
        assert look(link).verdict == "skipped", link


def test_firmware_is_compared_by_the_kind_of_card(node: Path, look: Look) -> None:
    hcas = sorted((node / "sys/class/infiniband").iterdir())
    for at, hca in enumerate(hcas):
        (hca.resolve() / "fw_ver").write_text("28.39.1002\n")
        (hca.resolve() / "board_id").write_text("MT_838\n" if at else "MT_900\n")
    answer = look("rdma-driver")
    assert answer.verdict == "pass"
    assert dict(answer.facts)["firmware of MT_838"] == "28.39.1002"
    (hcas[-1].resolve() / "fw_ver").write_text("28.40.1000\n")
    (hcas[0].resolve() / "board_id").write_text("MT_838\n")
    answer = look("rdma-driver")
    assert (answer.verdict, "28.39.1002, 28.40.1000" in answer.detail) == ("warn", True)


def test_network_cards_without_rdma(put: Put, look: Look) -> None:
    put("sys/bus/pci/devices/0000:18:00.0/class", "0x020700\n")
    put("sys/bus/pci/devices/0000:18:00.0/vendor", "0x15b3\n")
    assert look("rdma-driver").verdict == "fail"


@pytest.mark.parametrize(
    ("modules", "version", "kernel", "verdict"),
    [
        ("nvidia_peermem 1 0 - Live 0x0", _CLOSED, "5.4.0", "pass"),
        ("", _OPEN, "5.15.0", "pass"),
        ("", _OPEN, "5.4.0", "warn"),
        ("", _CLOSED, "6.1.0", "warn"),
    ],
)
@pytest.mark.usefixtures("node")
def test_gpudirect(
    modules: str, version: str, kernel: str, verdict: str, put: Put, look: Look
) -> None:
    put("proc/modules", modules)
    put("proc/driver/nvidia/version", version)
    put("proc/sys/kernel/osrelease", kernel)
    assert look("gpudirect").verdict == verdict


def test_dma_buf_needs_both() -> None:
    assert gpudirect.has_dma_buf("5.12.1", _OPEN)
    assert not gpudirect.has_dma_buf("5.11", _OPEN)
    assert not gpudirect.has_dma_buf("6.1", _CLOSED)


@pytest.mark.parametrize(("text", "version"), [(_OPEN, "580.65.06"), (_CLOSED, "535.54.03")])
def test_the_drivers_release(text: str, version: str) -> None:
    assert version_of(text) == version


def test_acs(node: Path, look: Look) -> None:
    assert look("acs").verdict == "skipped"
    bridge = next(
        pci
        for pci in (node / "sys/bus/pci/devices").iterdir()
        if (pci / "class").read_text().startswith("0x0604")
        and any("infiniband" not in p.name and p.name.count(":") == 2 for p in pci.iterdir())
    )
    for control, verdict in ((0, "pass"), (0x1D, "warn"), (0x1, "pass")):
        (bridge / "config").write_bytes(config(control))
        assert look("acs").verdict == verdict, control


def config(control: int) -> bytes:
    """A configuration space with AER first, then ACS."""
    data = bytearray(4096)
    data[0x100:0x104] = (0x0001 | 1 << 16 | 0x148 << 20).to_bytes(4, "little")
    data[0x148:0x14C] = (0x000D | 1 << 16).to_bytes(4, "little")
    data[0x14E:0x150] = control.to_bytes(2, "little")
    return bytes(data)


def test_acs_is_read_from_the_chain_of_capabilities() -> None:
    assert acs.acs_control(config(0x1D)) == 0x1D
    assert acs.acs_control(bytes(4096)) is None
    assert acs.acs_control(bytes(64)) is None
    loop = bytearray(4096)
    loop[0x100:0x104] = (0x0001 | 0x100 << 20).to_bytes(4, "little")
    assert acs.acs_control(bytes(loop)) is None


@pytest.mark.parametrize(
    ("command", "kind", "verdict"),
    [("iommu=pt", "DMA-FQ", "pass"), ("quiet", "identity", "pass"), ("quiet", "DMA-FQ", "warn")],
)
@pytest.mark.usefixtures("node")
def test_iommu(command: str, kind: str, verdict: str, put: Put, look: Look) -> None:
    put("proc/cmdline", command)
    put("sys/kernel/iommu_groups/0/type", kind)
    assert look("iommu").verdict == verdict


@pytest.mark.usefixtures("node")
def test_no_iommu(look: Look) -> None:
    assert look("iommu").verdict == "pass"


_MLNX_QOS = """\
DCBX mode: OS controlled
Priority trust state: dscp
dscp2prio mapping:
\tprio:0 dscp:07,06,05,04,03,02,01,00,
\tprio:3 dscp:31,30,29,28,27,26,25,24,
default priority:
PFC configuration:
\tpriority    0   1   2   3   4   5   6   7
\tenabled     0   0   0   1   0   0   0   0
\tbuffer      0   0   0   1   0   0   0   0
tc: 0 ratelimit: unlimited, tsa: vendor
"""


def test_mlnx_qos() -> None:
    found = from_mlnx_qos(_MLNX_QOS)
    assert (found.pfc, found.trust) == (frozenset({3}), "dscp")
    assert (found.priority_of[26], found.priority_of[0]) == (3, 0)
    assert from_mlnx_qos("mlnx_qos: no such device").pfc is None


def test_dcb() -> None:
    pfc = {"pfc-cap": 8, "prio_pfc": [False, False, False, True, False, False, False, False]}
    app = {"dscp_prio": [["AF31", 3], ["CS6", 6], ["EF", 5], [4, 0]]}
    found = from_dcb(pfc, app)
    assert (found.pfc, found.trust) == (frozenset({3}), "dscp")
    assert dict(found.priority_of) == {26: 3, 48: 6, 46: 5, 4: 0}
    assert from_dcb(None, None).pfc is None
    assert from_dcb(pfc, {}).trust == "pcp"
    assert from_dcb(pfc, None).trust == ""
