"""Sandbox nodes that look like GPU nodes on a RoCE fabric, and faults planted on them.

Namespaces, interfaces, mounts, limits, SSH and Slurm are real. What this machine has no hardware
for is files in /sys and /proc, one tree per node, and stand-ins for three programs that speak with
hardware or name what this machine has no GPU for: mlnx_qos, libcuda and the CUDA line of ompi_info.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slurmkit.sandbox import Sandbox
from slurmkit.sandbox.hardware import look
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import Nic, Port, Topology

SLURMKIT = Path(__file__).parents[2] / ".venv/bin/slurmkit"
#: The node that faults are planted on; the other two are the majority.
ODD = "node2"

_MLNX_QOS = """\
#!/bin/sh
# Prints what NVIDIA's mlnx_qos prints, from a file of this node.
cat {hw}/$(hostname)/qos-$2
"""
_QOS = """\
DCBX mode: OS controlled
Priority trust state: {trust}
dscp2prio mapping:
\tprio:0 dscp:07,06,05,04,03,02,01,00,
\tprio:{priority} dscp:31,30,29,28,27,26,25,24,
default priority:
Receive buffer size (bytes): 130944,130944,0,0,0,0,0,0,
PFC configuration:
\tpriority    0   1   2   3   4   5   6   7
\tenabled     {pfc}
\tbuffer      0   0   0   1   0   0   0   0
"""
_OMPI_INFO = """\
#!/bin/sh
# Debian's Open MPI, as if it had been built with CUDA.
/usr/bin/ompi_info "$@" | sed 's/cuda_support:value:false/cuda_support:value:true/'
"""
_LIBCUDA = "int cuDriverGetVersion(int *version) { *version = 13000; return 0; }\n"
_TASK_PROLOG = """\
#!/bin/sh
# A node whose clock is wrong: its tasks see the time of FILE.
if [ -f {file}.$(hostname) ]; then
  echo export LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
  echo export FAKETIME=$(cat {file}.$(hostname))
  echo export DONT_FAKE_MONOTONIC=1
fi
"""
_DRIVER = "NVRM version: NVIDIA UNIX {kind} for x86_64  {version}  Release Build\n"
_OPEN = "Open Kernel Module"
_SITE = """\
fabric: {preset: roce-400, subnet: 10.99.0.0/16}
"""


def task_prolog(folder: Path) -> str:
    """Write a TaskProlog that fakes the time of a node on request; return its slurm.conf line."""
    path = folder / "task-prolog"
    path.write_text(_TASK_PROLOG.format(file=folder / "faketime"))
    path.chmod(0o755)
    return f"TaskProlog={path}"


class RoceNodes:
    """The nodes, with what is needed to examine and to break them.

    Args:
        cluster: a sandbox with profile dgx-h100, scaled.
        folder: a folder that the nodes see; holds ``faketime.NODE`` for its TaskProlog.
    """

    def __init__(self, cluster: Sandbox, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.hw = cluster.shared_dir / "hw"
        self.bin = cluster.shared_dir / "bin"
        self.site = cluster.shared_dir / "site.yaml"
        self.scratch = cluster.shared_dir / "scratch"
        for path in (self.hw, self.bin, self.scratch):
            path.mkdir()
        self.site.write_text(_SITE)
        self._write_stand_ins()
        for at, node in enumerate(cluster.nodes, 1):
            self._dress(node, at)

    # -- dressing the nodes -----------------------------------------------------------------------

    def _write_stand_ins(self) -> None:
        for name, text in (("mlnx_qos", _MLNX_QOS), ("ompi_info", _OMPI_INFO)):
            (self.bin / name).write_text(text.format(hw=self.hw) if "{hw}" in text else text)
            (self.bin / name).chmod(0o755)
        source = self.bin / "cuda.c"
        source.write_text(_LIBCUDA)
        command = ["cc", "-shared", "-fPIC", "-o", str(self.bin / "libcuda.so.1"), str(source)]
        subprocess.run(command, check=True, timeout=60)

    def _dress(self, node: str, number: int) -> None:
        """Show a node a tree of its own, and give it the interfaces that the tree speaks of."""
        root = self.hw / node
        root.mkdir()
        topology = roce_topology(number)
        write_sysfs(topology, root)
        for nic in topology.nics:
            if nic.role == "compute":
                self._complete(root, nic)
        for pci in (root / "sys/bus/pci/devices").iterdir():
            if (pci / "class").read_text().startswith("0x0604"):
                (pci / "config").write_bytes(pci_config(acs=0))
        (root / "proc/driver/nvidia").mkdir(parents=True, exist_ok=True)
        (root / "proc/driver/nvidia/version").write_text(driver("580.65.06"))
        lines = [f"cd {root}"]
        lines += [
            f"mount --bind sys/devices/{path.name} /sys/devices/{path.name}"
            for path in (root / "sys/devices").iterdir()
            if path.name.startswith("pci")
        ]
        lines += [
            "mount --bind sys/bus/pci/devices /sys/bus/pci/devices",
            "mount --bind sys/class/infiniband /sys/class/infiniband",
            "mount --bind proc/driver /proc/driver",
        ]
        for at, _nic in enumerate(compute(topology)):
            lines += [
                f"ip link add roce{at} mtu 9000 type veth peer name peer{at}",
                f"ip link set peer{at} up",
                f"ip addr add 10.99.{at}.{number}/24 dev roce{at}",
                f"ip link set roce{at} up",
            ]
        self.on(node, "\n".join(lines))

    def _complete(self, root: Path, nic: Nic) -> None:
        """Add what a topology does not say of a NIC: GIDs' interfaces, ECN, QoS."""
        name = nic.netdevs[0]
        ports = root / "sys/class/infiniband" / nic.name / "ports/1"
        ndevs = ports / "gid_attrs/ndevs"
        ndevs.mkdir()
        for gid in (ports / "gids").iterdir():
            (ndevs / gid.name).write_text(f"{name}\n")
        for half in ("roce_np", "roce_rp"):
            enable = root / f"sys/bus/pci/devices/{nic.pci}/net/{name}/ecn/{half}/enable/3"
            enable.parent.mkdir(parents=True)
            enable.write_text("1\n")
        self.set_qos(root.name, name)

    def set_qos(
        self, node: str, name: str, pfc: str = "0 0 0 1 0 0 0 0", trust: str = "dscp", prio: int = 3
    ) -> None:
        text = _QOS.format(pfc=pfc.replace(" ", "   "), trust=trust, priority=prio)
        (self.hw / node / f"qos-{name}").write_text(text)

    @property
    def may_lock_memory(self) -> bool:
        """Whether root may take all limits away here, as it may on a machine of its own."""
        done = self.cluster.exec("login", ["bash", "-c", "ulimit -l unlimited"])
        return done.returncode == 0

    # -- using them -------------------------------------------------------------------------------

    def on(self, node: str, script: str) -> str:
        """Run a shell script on a node as root."""
        done = self.cluster.exec(node, ["sh", "-ec", script], timeout=60)
        assert done.returncode == 0, f"{node}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def examine(
        self, *options: str, prefix: str = "", nodes: bool = True, shared: bool = True
    ) -> dict[str, Any]:
        """Return what ``slurmkit doctor`` says of the nodes, asked on the login host."""
        words = [str(SLURMKIT), "doctor", "--site", str(self.site), "--json"]
        words += ["--nodes", str(len(self.cluster.nodes))] if nodes else []
        if shared:
            words += ["--shared", str(self.scratch)]
        line = " ".join([*words, *options])
        # What a site sets up once: enough locked memory and open files, which srun hands on.
        site = "ulimit -l unlimited 2>/dev/null; ulimit -n $(ulimit -Hn)"
        script = f"{site}; {prefix} exec {line}"
        done = self.cluster.exec("login", ["bash", "-c", script], env=self.env(), timeout=120)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (report["verdict"] == "fail")
        return report

    def env(self) -> dict[str, str]:
        path = f"{self.bin}:{SLURMKIT.parent}:{os.environ['PATH']}"
        return {"PATH": path, "LD_LIBRARY_PATH": str(self.bin), "OMP_NUM_THREADS": "1"}

    def hca(self, node: str, at: int = 0) -> Path:
        """Return the folder of a node's compute HCA in its own tree."""
        return self.hw / node / "sys/class/infiniband" / compute(roce_topology(1))[at].name

    # -- faults -----------------------------------------------------------------------------------

    @contextmanager
    def file(self, path: Path, text: str) -> Iterator[None]:
        """Let a file of a node's tree say something else."""
        before = path.read_text()
        path.write_text(text)
        try:
            yield
        finally:
            path.write_text(before)

    @contextmanager
    def commands(self, fault: str, mend: str, node: str = ODD) -> Iterator[None]:
        """Break a node by commands, and mend it by others."""
        self.on(node, fault)
        try:
            yield
        finally:
            self.on(node, mend)

    @contextmanager
    def instead(self, path: str, text: str, node: str = ODD) -> Iterator[None]:
        """Let a node see another file in the place of one."""
        source = self.hw / node / f"instead-{Path(path).name}"
        source.write_text(text)
        source.chmod(0o755)
        with self.commands(f"mount --bind {source} {path}", f"umount {path}", node):
            yield


def roce_topology(number: int) -> Topology:
    """Return a DGX H100 as this machine's cores allow, its compute NICs on RoCE at 400 Gb/s.

    Args:
        number: of the node, which is the last part of its addresses.
    """
    node = look("dgx-h100", scale=True, renumber=False, gpus=2, cpus=None)
    assert node is not None
    places = {nic.name: at for at, nic in enumerate(compute(node))}
    nics = tuple(_on_roce(nic, places.get(nic.name), number) for nic in node.nics)
    return node.replace(nics=nics)


def compute(topology: Topology) -> list[Nic]:
    return [nic for nic in topology.nics if nic.role == "compute"]


def _on_roce(nic: Nic, at: int | None, number: int) -> Nic:
    if at is None:
        return nic
    mapped = f"0000:0000:0000:0000:0000:ffff:0a63:{at:02x}{number:02x}"
    local = "fe80:0000:0000:0000:5a6b:03ff:fe0a:0001"
    gids = (f"0:IB/RoCE v1:{local}", f"1:RoCE v2:{local}")
    gids += (f"2:IB/RoCE v1:{mapped}", f"3:RoCE v2:{mapped}")
    port = Port(1, "ACTIVE", 400.0, "Ethernet", gids)
    return nic.replace(ports=(port,), netdevs=(f"roce{at}",))


def driver(version: str, kind: str = _OPEN) -> str:
    """Return what /proc/driver/nvidia/version says of a driver."""
    return _DRIVER.format(version=version, kind=kind)


def pci_config(*, acs: int) -> bytes:
    """Return a bridge's configuration space with an ACS capability of this control register."""
    config = bytearray(4096)
    config[0x100:0x104] = (0x000D | 1 << 16).to_bytes(4, "little")
    config[0x106:0x108] = acs.to_bytes(2, "little")
    return bytes(config)
