"""What a node is made of, as frozen values: the one model that every source yields.

Discovery, profiles and XML imports all give a `Topology`; the planner knows nothing else. A field
that a source does not tell is None, "" or (), and is named in `Topology.unknown`, never guessed.
"""

from slurmkit.record import Record

# How near a NIC is to a GPU, nearest first, in the words of `nvidia-smi topo -m` and NCCL.
DISTANCES = ("PIX", "PXB", "PHB", "NODE", "SYS")

ROLES = ("compute", "storage", "management", "unknown")


class NumaNode(Record):
    """A NUMA node; it may have memory and no CPUs, or CPUs and no GPU.

    Attributes:
        index: the kernel's number of the node; numbers may have gaps.
        cpus: its online CPUs.
        memory_mib: its memory in MiB, or None when unknown.
        distances: the kernel's distance to each node, in the order of `Topology.numa`.
    """

    index: int
    cpus: frozenset[int]
    memory_mib: int | None = None
    distances: tuple[int, ...] = ()


class Link(Record):
    """A PCIe link: `speed_gts` in GT/s (32.0 for Gen5) and the number of lanes; None is unknown."""

    speed_gts: float | None = None
    width: int | None = None

    @property
    def bandwidth_gbs(self) -> float | None:
        """Bandwidth in GB/s of one direction after the line code, before packet headers."""
        if self.speed_gts is None or self.width is None:
            return None
        # PCIe base specification: 8b/10b up to 5 GT/s, 128b/130b up to 32, flits (242/256) from 64.
        code = 0.8 if self.speed_gts <= 5 else 128 / 130 if self.speed_gts < 64 else 242 / 256
        return self.speed_gts * self.width * code / 8


class Bridge(Record):
    """A PCIe switch, by its upstream port; `pci_id` is ``vendor:device`` in hex, "" if unknown."""

    pci: str
    pci_id: str = ""
    link: Link = Link()


class MigDevice(Record):
    """One MIG instance: its UUID as CUDA_VISIBLE_DEVICES takes it, and its profile name."""

    uuid: str
    profile: str = ""


class NvLinkPeer(Record):
    """NVLinks from a GPU to one target: a peer GPU or an NVSwitch, by PCI address."""

    target: str
    count: int
    kind: str = "switch"  # or "gpu"


class Gpu(Record):
    """A GPU.

    Attributes:
        index: its place in PCI order, which is CUDA's order when CUDA_DEVICE_ORDER=PCI_BUS_ID.
        pci: ``0000:1b:00.0`` in lower case, or "" when a profile does not know it.
        numa: the NUMA node it hangs on, or None when neither firmware nor structure tells.
        numa_inferred: True when the firmware said -1 and the node follows from the structure.
        path: the PCI root complex (``pci0000:15``), then each PCIe switch by its upstream port, as
            NCCL counts them; labels of switches in a profile. () when unknown.
        uuid: ``GPU-…`` from NVML, "" without it.
        pci_id: ``10de:2330``.
        minor: N of ``/dev/nvidiaN``; it can differ from the index, and is None when unknown.
    """

    index: int
    pci: str
    numa: int | None
    path: tuple[str, ...] = ()
    uuid: str = ""
    name: str = ""
    pci_id: str = ""
    minor: int | None = None
    numa_inferred: bool = False
    link: Link = Link()
    mig: tuple[MigDevice, ...] = ()
    nvlink_peers: tuple[NvLinkPeer, ...] = ()

    @property
    def is_nvidia(self) -> bool:
        """Whether its vendor is NVIDIA, as its PCI id says."""
        return self.pci_id.startswith("10de:")


class Port(Record):
    """A port of an HCA.

    Attributes:
        number: from 1.
        state: ACTIVE, DOWN, INIT, ARMED, …, or UNKNOWN.
        rate_gbps: signalling rate in Gb/s, or None.
        link_layer: InfiniBand, Ethernet or unknown.
        gids: the GIDs that are set, in the order of their index, ``INDEX:TYPE:GID`` each.
    """

    number: int
    state: str = "UNKNOWN"
    rate_gbps: float | None = None
    link_layer: str = "unknown"
    gids: tuple[str, ...] = ()


class Nic(Record):
    """An RDMA device (HCA, EFA) as NCCL and UCX name it.

    Attributes:
        name: ``mlx5_0``; numbering differs between machines of one kind.
        role: compute, storage, management or unknown; collectives use compute alone.
        role_reason: why it has that role, in a few words.
        provider: mlx5, efa, …: the kernel driver or the prefix of its name.
        board_id: the PSID of the card, such as ``MT_0000000838``; other boards, other purposes.
        netdevs: network interfaces on the same PCI function, such as ``ibs1f0``.
    """

    name: str
    pci: str
    numa: int | None
    path: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    netdevs: tuple[str, ...] = ()
    role: str = "unknown"
    role_reason: str = ""
    provider: str = ""
    pci_id: str = ""
    board_id: str = ""
    numa_inferred: bool = False
    link: Link = Link()

    @property
    def active(self) -> bool:
        """Whether a port is up, or nothing is known about its ports (a profile, an XML file)."""
        known = [port.state for port in self.ports if port.state != "UNKNOWN"]
        return not known or "ACTIVE" in known

    @property
    def rate_gbps(self) -> float | None:
        """The sum of the rates of its ports that are up, in Gb/s, or None when unknown."""
        rates = [
            port.rate_gbps
            for port in self.ports
            if port.state in ("ACTIVE", "UNKNOWN") and port.rate_gbps is not None
        ]
        return sum(rates) if rates else None


class Topology(Record):
    """A node.

    Attributes:
        host: its name, or the name of the profile.
        source: sysfs, nccl, hwloc, json or profile.
        cpus_online: all online CPUs.
        smt: the sibling groups, each sorted, in order of their first CPU; a core without SMT is a
            group of one. () when unknown: then every CPU counts as a core.
        numa: by index. gpus: by index. nics: by PCI address, then by name.
        bridges: the PCIe switches on the paths, by address.
        notes: what a reader should know (inferred values, odd firmware), one sentence each.
        unknown: dotted names of what the source does not tell, such as ``nics.mlx5_4.pci``.
        synthetic: dotted names of what was made up so that the fixture can be used at all.
    """

    host: str
    source: str
    cpus_online: frozenset[int]
    smt: tuple[tuple[int, ...], ...]
    numa: tuple[NumaNode, ...]
    gpus: tuple[Gpu, ...] = ()
    nics: tuple[Nic, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()

    def numa_node(self, index: int | None) -> NumaNode | None:
        """Return the NUMA node of that number, or None."""
        return next((node for node in self.numa if node.index == index), None)

    def siblings(self, cpu: int) -> tuple[int, ...]:
        """Return the SMT group that a CPU belongs to."""
        return next((group for group in self.smt if cpu in group), (cpu,))


def pci_key(address: str) -> tuple[int, ...]:
    """Return a sort key of ``domain:bus:device.function``: numbers, so that order is PCI order."""
    parts = address.replace(".", ":").split(":")
    try:
        return tuple(int(part, 16) for part in parts)
    except ValueError:
        return (1 << 32,)


def name_key(name: str) -> tuple[str, int, str]:
    """Return a sort key of a device name, so that mlx5_9 comes before mlx5_10."""
    prefix = name.rstrip("0123456789")
    return prefix, int(name[len(prefix) :] or -1), name
