"""Faults that tests of doctor plant on a node, and what it has to say of each.

Not a test by itself: test_doctor.py runs this file and takes what it needs.
"""

import runpy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

_PARTS = runpy.run_path(str(Path(__file__).with_name("roce_nodes.py")))
ODD: str = _PARTS["ODD"]
pci_config = _PARTS["pci_config"]
driver = _PARTS["driver"]

Fault = Callable[[Any], AbstractContextManager[None]]


def _sysfs(path: str, text: str) -> Fault:
    return lambda nodes: nodes.file(nodes.hca(ODD) / path, text)


def _do(fault: str, mend: str) -> Fault:
    return lambda nodes: nodes.commands(fault.format(nodes=nodes), mend.format(nodes=nodes))


def _instead(path: str, text: str) -> Fault:
    return lambda nodes: nodes.instead(path, text)


def _wrong_hosts(nodes: Any) -> AbstractContextManager[None]:
    text = nodes.on(ODD, "cat /etc/hosts")
    moved = text.replace(nodes.cluster.layout.address("node3"), "10.255.255.3")
    assert moved != text
    return nodes.instead("/etc/hosts", moved)


@contextmanager
def _wrong_time(nodes: Any) -> Iterator[None]:
    path = nodes.folder / f"faketime.{ODD}"
    path.write_text("+95s\n")
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def _no_gid(nodes: Any) -> Iterator[None]:
    gid = nodes.hca(ODD) / "ports/1/gids/3"
    with nodes.file(gid, "0000:0000:0000:0000:0000:0000:0000:0000\n"):
        yield


@contextmanager
def _qos(nodes: Any, **changed: Any) -> Iterator[None]:
    nodes.set_qos(ODD, "roce0", **changed)
    try:
        yield
    finally:
        nodes.set_qos(ODD, "roce0")


@contextmanager
def _acs(nodes: Any) -> Iterator[None]:
    bridges = [
        pci / "config"
        for pci in sorted((nodes.hw / ODD / "sys/bus/pci/devices").iterdir())
        if (pci / "config").exists()
    ]
    for path in bridges:
        path.write_bytes(pci_config(acs=0x1D))
    try:
        yield
    finally:
        for path in bridges:
            path.write_bytes(pci_config(acs=0))


def _ecn(nodes: Any) -> AbstractContextManager[None]:
    path = nodes.hca(ODD).resolve().parents[1] / "net/roce0/ecn/roce_np/enable/3"
    return nodes.file(path, "0\n")


def _driver(nodes: Any) -> AbstractContextManager[None]:
    path = nodes.hw / ODD / "proc/driver/nvidia/version"
    return nodes.file(path, driver("575.57.08"))


def _no_gpudirect(nodes: Any) -> AbstractContextManager[None]:
    """The proprietary module, which has no dma-buf, and no nvidia-peermem beside it."""
    path = nodes.hw / ODD / "proc/driver/nvidia/version"
    return nodes.file(path, driver("580.65.06", "Kernel Module"))


def _hugepages(nodes: Any) -> AbstractContextManager[None]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    total_kib = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal"))
    pages = total_kib // 2048 // 2
    changed = [
        f"{name}: {pages}"
        if (name := line.partition(":")[0]) in ("HugePages_Total", "HugePages_Free")
        else line
        for line in lines
    ]
    return nodes.instead("/proc/meminfo", "\n".join(changed) + "\n")


#: Fault -> (how it is planted, the link that finds it, words of what it says).
FAULTS: dict[str, tuple[Fault, str, tuple[str, ...]]] = {
    "mtu": (
        _do("ip link set roce0 mtu 1500", "ip link set roce0 mtu 9000"),
        "mtu",
        (f"{ODD}: MTU of roce0 1500, the other 2: 9000", "roce0 has 1500, not 9000"),
    ),
    "mtu-of-the-way": (
        _do("ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500"),
        "mtu",
        (f"{ODD}: MTU of eth0 1400, the other 2: 1500",),
    ),
    "link-off": (
        _do("ip link set roce0 down", "ip link set roce0 up"),
        "interfaces",
        ("roce0 is switched off",),
    ),
    "no-carrier": (
        _do("ip link set peer4 down", "ip link set peer4 up"),
        "interfaces",
        ("roce4 has no link",),
    ),
    "port-down": (_sysfs("ports/1/state", "1: DOWN\n"), "ports", ("is DOWN",)),
    "rate": (
        _sysfs("ports/1/rate", "200 Gb/sec (2X NDR)\n"),
        "ports",
        ("runs at 200 of 400 Gb/s",),
    ),
    "gid-missing": (_no_gid, "gids", ("no RoCE v2 GID", "10.99.0.0/16")),
    "pfc-off": (
        lambda nodes: _qos(nodes, pfc="0 0 0 0 0 0 0 0"),
        "pfc",
        (f"{ODD}: PFC of roce0 none", "priority 3 alone should be lossless: roce0 has none"),
    ),
    "dscp-untrusted": (
        lambda nodes: _qos(nodes, trust="pcp"),
        "dscp",
        ("trusts pcp, not dscp",),
    ),
    "dscp-mapped-elsewhere": (
        lambda nodes: _qos(nodes, prio=4),
        "dscp",
        ("maps DSCP 26 to priority 4",),
    ),
    "ecn-off": (_ecn, "ecn", ("notification (roce_np) is off for priority 3",)),
    "name": (
        _wrong_hosts,
        "names",
        (f"{ODD}: address of node3 10.255.255.3, the other 2:",),
    ),
    "clock": (_wrong_time, "clock", (f"{ODD}: 9", "ahead of")),
    "driver": (_driver, "driver", (f"{ODD}: NVIDIA driver 575.57.08, the other 2: 580.65.06",)),
    "mpi": (
        _instead("/usr/bin/mpirun", "#!/bin/sh\necho 'mpirun (Open MPI) 5.0.7'\n"),
        "mpi",
        (f"{ODD}: MPI Open MPI 5.0.7, the other 2: ",),
    ),
    "kernel": (
        _instead("/proc/sys/kernel/osrelease", "6.1.0-old\n"),
        "kernel",
        (f"{ODD}: kernel 6.1.0-old",),
    ),
    "acs": (_acs, "acs", ("ACS redirects at",)),
    "peermem": (_no_gpudirect, "gpudirect", (f"{ODD}: GPUDirect RDMA none", "nvidia-peermem")),
    "hugepages": (_hugepages, "hugepages", ("of them unused",)),
    "shm": (
        _do("mount -t tmpfs -o size=32m shm /dev/shm", "umount /dev/shm"),
        "shm",
        (f"{ODD}: 0.0 GiB",),
    ),
    "read-only": (
        _do(
            "mount --bind {nodes.scratch} {nodes.scratch}; "
            "mount -o remount,ro,bind {nodes.scratch}",
            "umount {nodes.scratch}",
        ),
        "shared",
        (f"{ODD}:", "Read-only file system"),
    ),
    "not-shared": (
        _do("mount -t tmpfs own {nodes.scratch}", "umount {nodes.scratch}"),
        "shared",
        (f"{ODD}: does not see the file of node", f"node1: does not see the file of {ODD}"),
    ),
}


#: Variants of others, left to the long suite.
VARIANTS = ("dscp-mapped-elsewhere", "kernel", "link-off", "mtu-of-the-way")
