"""Each link on prepared trees, and what it makes of what programs print."""

import resource
import time
from pathlib import Path

import pytest

from slurmkit.doctor.checks import (
    acs,
    allreduce,
    clock,
    cuda,
    gpudirect,
    limits,
    memlock,
    mpi,
    mpi_support,
    shm,
    ucx,
)
from slurmkit.doctor.checks.driver import version_of
from slurmkit.doctor.compare import compare
from slurmkit.doctor.link import Answer, Link, Place, passed, unpack
from slurmkit.doctor.netdev import interfaces
from slurmkit.doctor.qos import from_dcb, from_mlnx_qos
from slurmkit.doctor.reference import markdown
from slurmkit.doctor.registry import GROUPS, all_links, links_of
from slurmkit.health.check import Node
from slurmkit.health.run import run_checks
from slurmkit.site.fabric_presets import Expectation
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import Port, Topology
from slurmkit.topology.profile import load_profile

LINKS = {link.id: link for link in all_links()}
ROCE = Expectation("roce-400", True, 400.0, 9000, "10.1.0.0/16", 26, 3)


def look(link: str, root: Path, fabric: Expectation = ROCE, **more: object) -> Answer:
    place = Place("node1", ("node1",), root=root, fabric=fabric).replace(**more)
    return LINKS[link].look(place)


def put(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


@pytest.fixture
def node(tmp_path: Path) -> Path:
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
            put(tmp_path, f"{folder}/mtu", "9000\n")
            put(tmp_path, f"{folder}/operstate", "up\n")
            put(tmp_path, f"{folder}/speed", "400000\n")
            for half in ("roce_np", "roce_rp"):
                put(tmp_path, f"{folder}/ecn/{half}/enable/3", "1\n")
    put(tmp_path, "proc/driver/nvidia/version", _OPEN)
    put(tmp_path, "proc/modules", "nvidia_peermem 16384 0 - Live 0x0\n")
    put(tmp_path, "proc/sys/kernel/osrelease", "5.15.0-1\n")
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


def test_a_node_that_is_right_is_right(node: Path) -> None:
    for link in ("ports", "interfaces", "mtu", "gids", "ecn", "driver", "gpudirect"):
        answer = look(link, node)
        assert answer.verdict == "pass", (link, answer)


FAULTS = {
    "port down": ("ports", "ports/1/state", "1: DOWN\n", "is DOWN"),
    "port slow": ("ports", "ports/1/rate", "200 Gb/sec (2X NDR)\n", "200 of 400 Gb/s"),
    "no address": ("gids", "ports/1/gids/3", "0000:" * 7 + "0000\n", "no RoCE v2 GID"),
    "RoCE v1": ("gids", "ports/1/gid_attrs/types/3", "IB/RoCE v1\n", "no RoCE v2 GID"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_port(node: Path, fault: str) -> None:
    link, path, text, words = FAULTS[fault]
    (compute_folder(node) / path).write_text(text)
    answer = look(link, node)
    assert (answer.verdict, words in answer.detail) == ("fail", True), answer


def test_all_ports_slower_than_the_site_says_is_found_without_a_majority(node: Path) -> None:
    assert look("ports", node, ROCE._replace(rate_gbps=800.0)).verdict == "fail"
    assert look("ports", node, Expectation()).verdict == "pass"


@pytest.mark.parametrize(
    ("link", "path", "text", "words"),
    [
        ("mtu", "mtu", "1500\n", "has 1500, not 9000"),
        ("interfaces", "operstate", "down\n", "is switched off"),
        ("ecn", "ecn/roce_rp/enable/3", "0\n", "reaction (roce_rp) is off"),
    ],
)
def test_faults_of_an_interface(node: Path, link: str, path: str, text: str, words: str) -> None:
    folder = next(iter((compute_folder(node).parents[1] / "net").iterdir()))
    (folder / path).write_text(text)
    answer = look(link, node)
    assert (answer.verdict, words in answer.detail) == ("fail", True), answer


def test_a_small_mtu_is_a_warning_where_no_site_says_what_it_should_be(node: Path) -> None:
    folder = next(iter((compute_folder(node).parents[1] / "net").iterdir()))
    (folder / "mtu").write_text("1500\n")
    assert look("mtu", node, Expectation()).verdict == "warn"


def test_the_way_to_a_host_is_that_to_the_address_by_which_ssh_reaches_it(tmp_path: Path) -> None:
    own = next((item for item in interfaces() if item.address), None)
    if own is None:
        pytest.skip("this machine has no interface with an IPv4 address")
    hosts, addresses = ("node1", "no-such-host.invalid"), ("192.0.2.1", own.address)
    answer = look("mtu", tmp_path, hosts=hosts, addresses=addresses)
    assert dict(answer.facts) == {f"MTU of {own.name}": str(own.mtu)}
    assert look("mtu", tmp_path, hosts=hosts).verdict == "skipped"


def test_an_address_in_another_network(node: Path) -> None:
    answer = look("gids", node, ROCE._replace(subnet="10.2.0.0/16"))
    assert answer.verdict == "fail"
    assert "in 10.2.0.0/16" in answer.detail


def test_gpus_without_a_driver(node: Path) -> None:
    (node / "proc/driver/nvidia/version").unlink()
    answer = look("driver", node)
    assert (answer.verdict, "no driver is loaded" in answer.detail) == ("fail", True)


def test_a_node_without_any_of_it_is_skipped(tmp_path: Path) -> None:
    for link in ("driver", "rdma-driver", "ports", "gids", "pfc", "ecn", "dscp", "gpudirect"):
        assert look(link, tmp_path).verdict == "skipped", link


def test_firmware_is_compared_by_the_kind_of_card(node: Path) -> None:
    hcas = sorted((node / "sys/class/infiniband").iterdir())
    for at, hca in enumerate(hcas):
        (hca.resolve() / "fw_ver").write_text("28.39.1002\n")
        (hca.resolve() / "board_id").write_text("MT_838\n" if at else "MT_900\n")
    answer = look("rdma-driver", node)
    assert answer.verdict == "pass"
    assert dict(answer.facts)["firmware of MT_838"] == "28.39.1002"
    (hcas[-1].resolve() / "fw_ver").write_text("28.40.1000\n")
    (hcas[0].resolve() / "board_id").write_text("MT_838\n")
    answer = look("rdma-driver", node)
    assert (answer.verdict, "28.39.1002, 28.40.1000" in answer.detail) == ("warn", True)


def test_network_cards_without_rdma(tmp_path: Path) -> None:
    put(tmp_path, "sys/bus/pci/devices/0000:18:00.0/class", "0x020700\n")
    put(tmp_path, "sys/bus/pci/devices/0000:18:00.0/vendor", "0x15b3\n")
    assert look("rdma-driver", tmp_path).verdict == "fail"


@pytest.mark.parametrize(
    ("modules", "version", "kernel", "verdict"),
    [
        ("nvidia_peermem 1 0 - Live 0x0", _CLOSED, "5.4.0", "pass"),
        ("", _OPEN, "5.15.0", "pass"),
        ("", _OPEN, "5.4.0", "warn"),
        ("", _CLOSED, "6.1.0", "warn"),
    ],
)
def test_gpudirect(node: Path, modules: str, version: str, kernel: str, verdict: str) -> None:
    put(node, "proc/modules", modules)
    put(node, "proc/driver/nvidia/version", version)
    put(node, "proc/sys/kernel/osrelease", kernel)
    assert look("gpudirect", node).verdict == verdict


def test_dma_buf_needs_both() -> None:
    assert gpudirect.has_dma_buf("5.12.1", _OPEN)
    assert not gpudirect.has_dma_buf("5.11", _OPEN)
    assert not gpudirect.has_dma_buf("6.1", _CLOSED)


@pytest.mark.parametrize(("text", "version"), [(_OPEN, "580.65.06"), (_CLOSED, "535.54.03")])
def test_the_drivers_release(text: str, version: str) -> None:
    assert version_of(text) == version


def test_acs(node: Path) -> None:
    assert look("acs", node).verdict == "skipped"
    bridge = next(
        pci
        for pci in (node / "sys/bus/pci/devices").iterdir()
        if (pci / "class").read_text().startswith("0x0604")
        and any("infiniband" not in p.name and p.name.count(":") == 2 for p in pci.iterdir())
    )
    for control, verdict in ((0, "pass"), (0x1D, "warn"), (0x1, "pass")):
        (bridge / "config").write_bytes(config(control))
        assert look("acs", node).verdict == verdict, control


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
def test_iommu(node: Path, command: str, kind: str, verdict: str) -> None:
    put(node, "proc/cmdline", command)
    put(node, "sys/kernel/iommu_groups/0/type", kind)
    assert look("iommu", node).verdict == verdict


def test_no_iommu(node: Path) -> None:
    assert look("iommu", node).verdict == "pass"


@pytest.mark.parametrize(
    ("limit", "hcas", "verdict"),
    [
        (resource.RLIM_INFINITY, True, "pass"),
        (64 << 10, True, "fail"),
        (64 << 10, False, "pass"),
        (4 << 30, True, "warn"),
    ],
)
def test_memlock(limit: int, hcas: bool, verdict: str) -> None:
    assert memlock.judge(limit, hcas).verdict == verdict


def test_limits_of_processes() -> None:
    assert limits.judge(1 << 20, -1).verdict == "pass"
    assert "1024 open files" in limits.judge(1024, -1).detail
    assert "100 processes" in limits.judge(1 << 20, 100).detail


@pytest.mark.parametrize(
    ("size", "free", "verdict"),
    [
        (64 << 20, 64 << 20, "fail"),
        (8 << 30, 1 << 20, "fail"),
        (512 << 20, 512 << 20, "warn"),
        (8 << 30, 1 << 30, "warn"),
        (8 << 30, 7 << 30, "pass"),
    ],
)
def test_shm(size: int, free: int, verdict: str) -> None:
    assert shm.judge(size, free).verdict == verdict


@pytest.mark.parametrize(
    ("skew", "uncertain", "verdict"),
    [
        (0.2, 0.3, "pass"),
        (1.2, 0.3, "pass"),
        (1.5, 0.3, "warn"),
        (-30, 1, "warn"),
        (-70, 1, "fail"),
    ],
)
def test_clocks(skew: float, uncertain: float, verdict: str) -> None:
    assert clock.judge(skew, uncertain).verdict == verdict


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mpirun (Open MPI) 4.1.4\n\nReport bugs to", "Open MPI 4.1.4"),
        ("mpirun (Open MPI) 5.0.7", "Open MPI 5.0.7"),
        (
            "Intel(R) MPI Library for Linux* OS, Version 2021.12 Build 20240213",
            "Intel MPI 2021.12",
        ),
        ("HYDRA build details:\n    Version:                 4.0.2\n", "MPICH 4.0.2"),
        ("something else", ""),
    ],
)
def test_which_mpi(text: str, name: str) -> None:
    assert mpi.kind_of(text) == name


def said(*ranks: tuple[str, int, int, int]) -> list[str]:
    return [f"slurmkit-allreduce {host} {r} {n} {s} Open MPI v4.1.4" for host, r, n, s in ranks]


def test_ranks_that_add_up() -> None:
    lines = ["a banner", *said(("n1", 0, 2, 3), ("n2", 1, 2, 3))]
    found = allreduce.judge(lines, [], ["n1", "n2"])
    assert {a.verdict for a in found.values()} == {"pass"}
    assert found["n1"].detail == "2 ranks add up, by Open MPI v4.1.4"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (said(("n1", 0, 1, 1), ("n2", 0, 1, 1)), "has 1 of 2 ranks"),
        (said(("n1", 0, 2, 2), ("n2", 1, 2, 2)), "MPI_Allreduce gave 2"),
        (said(("n1", 0, 2, 3), ("n2", 0, 2, 3)), "rank 0 is there twice"),
        (said(("n2", 1, 2, 3)), "did not finish: PML ucx cannot be selected"),
    ],
)
def test_ranks_that_do_not(lines: list[str], words: str) -> None:
    complaints = ["-----", "", "PML ucx cannot be selected", "srun: error: n1: task 0"]
    found = allreduce.judge(lines, complaints, ["n1", "n2"])
    assert (found["n1"].verdict, words in found["n1"].detail) == ("fail", True), found


def test_what_open_mpi_was_built_with() -> None:
    text = (
        'mca:pml:ucx:version:"component:4.1.4"\nmca:pml:ob1:version:"component:4.1.4"\n'
        "mca:mpi:base:param:mpi_built_with_cuda_support:value:true\n"
    )
    assert mpi_support.components(text, "pml") == {"ucx", "ob1"}
    assert mpi_support.has_cuda(text)
    assert not mpi_support.has_cuda(text.replace("true", "false"))


def test_the_systems_nccl(tmp_path: Path) -> None:
    (tmp_path / "libnccl.so.2.21.5").touch()
    (tmp_path / "libnccl.so.2").symlink_to("libnccl.so.2.21.5")
    text = f"2 libs found\n\tlibnccl.so.2 (libc6,x86-64) => {tmp_path}/libnccl.so.2\n"
    assert cuda.nccl_of(text) == "2.21.5"
    assert cuda.nccl_of("\tlibc.so.6 (libc6) => /lib/libc.so.6\n") == ""


def test_what_ucx_opens() -> None:
    text = (
        "#      Transport: rc_mlx5\n#         Device: mlx5_0:1\n"
        "#      Transport: cuda_copy\n#         Device: cuda\n"
    )
    assert ucx.read_devices(text) == ({"rc_mlx5", "cuda_copy"}, {"mlx5_0:1", "cuda"})


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


def test_names_that_do_not_resolve(tmp_path: Path) -> None:
    answer = look("names", tmp_path, hosts=("localhost", "no-such-host.invalid"))
    assert answer.verdict == "fail"
    assert "no-such-host.invalid" in answer.detail


def test_names_that_resolve_to_a_loopback_address(tmp_path: Path) -> None:
    answer = look("names", tmp_path, host="localhost", hosts=("localhost", "127.0.0.1"))
    assert (answer.verdict, "127.0." in answer.detail) == ("fail", True)
    assert "/etc/hosts" in answer.todo
    others = passed("", {"address of localhost": "10.0.0.1", "address of 127.0.0.1": "10.0.0.2"})
    assert compare(LINKS["names"], {"localhost": answer, "a": others, "b": others}) == []


def test_a_shared_folder(tmp_path: Path) -> None:
    known = {"shared_dir": str(tmp_path), "token": "t"}
    assert look("shared", tmp_path, **known).verdict in ("pass", "warn")
    alone = look("shared", tmp_path, **known, hosts=("node1", "node2"), wait_s=0.0)
    assert (alone.verdict, "does not see the file of node2" in alone.detail) == ("fail", True)
    gone = look("shared", tmp_path, shared_dir=str(tmp_path / "gone"), token="t")
    assert (gone.verdict, "is not there" in gone.detail) == ("fail", True)
    assert look("shared", tmp_path).verdict == "skipped"


def test_the_file_system_of_a_shared_folder_is_that_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "home").symlink_to("export")
    mounts = f"/dev/sda1 / ext4 rw 0 0\nserver:/e {tmp_path}/export nfs4 rw 0 0\n"
    put(tmp_path, "proc/self/mounts", mounts)
    answer = look("shared", tmp_path, shared_dir=f"{tmp_path}/home", token="t")
    assert dict(answer.facts) == {"file system": "nfs4 from server:/e"}
    assert look("cgroup", tmp_path).verdict == "skipped"
    put(tmp_path, "proc/self/mounts", f"{mounts}cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    assert look("cgroup", tmp_path).detail == "v2"


def test_what_hangs_or_breaks_holds_up_nothing() -> None:
    def hangs(_place: Place) -> Answer:
        time.sleep(60)
        return passed("")

    def breaks(_place: Place) -> Answer:
        raise RuntimeError("a mistake")

    link = LINKS["kernel"].replace(timeout_s=0.3)
    slow, broken = link.replace(id="slow", look=hangs), link.replace(id="broken", look=breaks)
    links: list[Link] = [slow, broken, LINKS["kernel"]]
    place = Place("node1", ("node1",))
    started = time.monotonic()
    found = run_checks([item.check(place, 30.0) for item in links], Node(), within_s=30.0)
    assert time.monotonic() - started < 10
    said = [unpack(item.verdict, item.detail) for item in found]
    assert [said[0].verdict, said[2].verdict] == ["fail", "pass"]
    assert "did not answer within" in said[0].detail
    assert said[1].verdict in ("warn", "fail")
    assert "the check itself" in said[1].detail


def test_links_are_complete_and_in_the_page() -> None:
    page = markdown()
    assert len(LINKS) == len(all_links()) >= 28
    for link in all_links():
        assert link.group in GROUPS
        assert f"| `{link.id}` |" in page
        assert len(link.todo) > 20
        assert link.differs in ("warn", "fail")


def test_only_takes_links_and_groups() -> None:
    assert [link.id for link in links_of(("gids",))] == ["gids"]
    assert {link.group for link in links_of(("fabric",))} == {"fabric"}
    assert not set(LINKS) & set(GROUPS)
    assert "allreduce" not in {link.id for link in (*links_of(()), *links_of(("software",)))}
    assert [link.id for link in links_of(("allreduce",))] == ["allreduce"]
    with pytest.raises(KeyError):
        links_of(("nothing",))
