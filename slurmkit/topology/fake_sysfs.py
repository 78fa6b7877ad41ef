"""Write a topology as a /sys and /proc tree that discovery reads back to the same topology.

For tests, and for a sandbox node that is to look like a DGX. What sysfs needs and the topology does
not tell is made up so that nobody takes it for real: PCI addresses in domains from fff0.
"""

from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.topology.cpuset import format_cpulist, format_mask
from slurmkit.topology.model import (
    Bridge,
    Gpu,
    Link,
    Nic,
    NumaNode,
    Port,
    Topology,
    name_key,
    pci_key,
)

_STATES = {"NOP": 0, "DOWN": 1, "INIT": 2, "ARMED": 3, "ACTIVE": 4, "ACTIVE_DEFER": 5}


def write_sysfs(topology: Topology, root: Path, *, firmware_knows_numa: bool = True) -> Topology:
    """Write the tree below `root`, which must not hold one, and return what was written.

    The result differs from `topology` where addresses had to be made up (see `with_addresses`).

    Args:
        topology: the node.
        root: a folder; ``sys`` and ``proc`` are made in it.
        firmware_knows_numa: False writes numa_node -1 for every device.

    Raises:
        UsageError: when `root` holds a ``sys`` or ``proc`` already.
    """
    for name in ("sys", "proc"):
        if (root / name).exists():
            raise UsageError(f"{root / name} exists already", hint="Give an empty folder.")
    complete = with_addresses(topology)
    _write_cpus(complete, root)
    _write_devices(complete, root, firmware_knows_numa=firmware_knows_numa)
    _put(root / "proc/sys/kernel/hostname", complete.host)
    return complete


def with_addresses(topology: Topology) -> Topology:
    """Return the topology with an address for every device and a PCI name for every path part."""
    names: dict[str, str] = {}
    gpus: list[Gpu] = []
    nics: list[Nic] = []
    for index, gpu in enumerate(topology.gpus):
        pci = gpu.pci or f"fff2:{index:02x}:00.0"
        # Discovery knows a GPU by its vendor; device 0000 is nobody's.
        pci_id = gpu.pci_id or "10de:0000"
        gpus.append(gpu.replace(pci=pci, pci_id=pci_id, path=_real_path(gpu, names)))
    for index, nic in enumerate(topology.nics):
        pci = nic.pci or f"fff3:{index:02x}:00.0"
        # The mark of an NVSwitch bridge counts on NVIDIA's network devices alone.
        pci_id = nic.pci_id or ("15b3:0000" if nic.role == "management" else "")
        nics.append(nic.replace(pci=pci, pci_id=pci_id, path=_real_path(nic, names)))
    made_up = [f"gpus.{gpu.index}.pci" for gpu in topology.gpus if not gpu.pci]
    made_up += [f"nics.{nic.name}.pci" for nic in topology.nics if not nic.pci]
    known = {bridge.pci: bridge for bridge in topology.bridges}
    paths = [gpu.path for gpu in gpus] + [nic.path for nic in nics]
    switches = {part for path in paths for part in path[1:]}
    return topology.replace(
        bridges=tuple(known.get(pci, Bridge(pci)) for pci in sorted(switches, key=pci_key)),
        gpus=tuple(gpus),
        nics=tuple(sorted(nics, key=lambda nic: (pci_key(nic.pci), name_key(nic.name)))),
        synthetic=(*topology.synthetic, *made_up),
    )


def _real_path(device: Gpu | Nic, names: dict[str, str]) -> tuple[str, ...]:
    # A device of unknown place still hangs on a root complex of its own.
    path = device.path or (f"root of {device.pci or id(device)}",)
    for depth, part in enumerate(path):
        if depth == 0 and not part.startswith("pci"):
            names.setdefault(part, f"pcifff0:{_count(names, 'pcifff0'):02x}")
        elif depth > 0 and len(pci_key(part)) != 4:
            names.setdefault(part, f"fff1:{_count(names, 'fff1'):02x}:00.0")
    return tuple(names.get(part, part) for part in path)


def _count(names: dict[str, str], prefix: str) -> int:
    return sum(name.startswith(prefix) for name in names.values())


def _write_cpus(topology: Topology, root: Path) -> None:
    cpu_dir = root / "sys/devices/system/cpu"
    online = format_cpulist(topology.cpus_online)
    for name in ("online", "possible", "present"):
        _put(cpu_dir / name, online)
    groups = topology.smt or tuple((cpu,) for cpu in sorted(topology.cpus_online))
    for core, group in enumerate(groups):
        package = _package(topology, group)
        for cpu in group:
            place = cpu_dir / f"cpu{cpu}/topology"
            _put(place / "thread_siblings_list", format_cpulist(group))
            _put(place / "core_cpus_list", format_cpulist(group))
            for name in ("thread_siblings", "core_cpus"):
                _put(place / name, format_mask(group))
            _put(place / "core_id", str(core))
            # lscpu falls over without these two; slurmd and hwloc count sockets by them.
            if package is not None:
                _put(place / "physical_package_id", str(package.index))
                _put(place / "core_siblings", format_mask(package.cpus))
    node_dir = root / "sys/devices/system/node"
    _put(node_dir / "online", format_cpulist(node.index for node in topology.numa))
    for node in topology.numa:
        _write_node(node, node_dir / f"node{node.index}")
    total_kib = 1024 * sum(node.memory_mib or 0 for node in topology.numa)
    _put(root / "proc/meminfo", f"MemTotal:       {total_kib} kB")


def _package(topology: Topology, group: tuple[int, ...]) -> NumaNode | None:
    """Return the socket of a core: a topology has none, and a NUMA node with CPUs stands for it."""
    return next((node for node in topology.numa if group[0] in node.cpus), None)


def _write_node(node: NumaNode, folder: Path) -> None:
    _put(folder / "cpulist", format_cpulist(node.cpus))
    _put(folder / "cpumap", format_mask(node.cpus))
    if node.memory_mib is not None:
        _put(folder / "meminfo", f"Node {node.index} MemTotal:       {node.memory_mib * 1024} kB")
    if node.distances:
        _put(folder / "distance", " ".join(str(value) for value in node.distances))


def _write_devices(topology: Topology, root: Path, *, firmware_knows_numa: bool) -> None:
    writer = _PciWriter(topology, root, firmware_knows_numa=firmware_knows_numa)
    for gpu in topology.gpus:
        writer.device(gpu, pci_id=gpu.pci_id, pci_class="0x030200")
        if gpu.uuid or gpu.name:
            minor = "" if gpu.minor is None else f"\nDevice Minor: \t {gpu.minor}"
            facts = f"Model: \t\t {gpu.name}\nGPU UUID: \t {gpu.uuid}{minor}"
            _put(root / f"proc/driver/nvidia/gpus/{gpu.pci}/information", facts)
    for nic in topology.nics:
        folder = writer.device(nic, pci_id=nic.pci_id, pci_class="0x020700")
        _write_nic(nic, folder, root)


def _write_nic(nic: Nic, folder: Path, root: Path) -> None:
    driver = {"mlx5": "mlx5_core", "mlx4": "mlx4_core", "bnxt_re": "bnxt_en"}.get(
        nic.provider, nic.provider
    )
    if driver:
        (folder / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
    if nic.role == "management":
        _put(folder / "vpd", "SMDL=SW_MNG")
    for netdev in nic.netdevs:
        (folder / "net" / netdev).mkdir(parents=True)
    place = folder / "infiniband" / nic.name
    place.mkdir(parents=True)
    (place / "device").symlink_to("../..")
    if nic.board_id:
        _put(place / "board_id", nic.board_id)
    for port in nic.ports:
        _write_port(port, place / "ports" / str(port.number))
    link = root / "sys/class/infiniband" / nic.name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path("../..") / place.relative_to(root / "sys"))


def _write_port(port: Port, folder: Path) -> None:
    folder.mkdir(parents=True)
    if port.state != "UNKNOWN":
        _put(folder / "state", f"{_STATES.get(port.state, 0)}: {port.state}")
    if port.rate_gbps is not None:
        _put(folder / "rate", f"{port.rate_gbps:g} Gb/sec (4X)")
    if port.link_layer != "unknown":
        _put(folder / "link_layer", port.link_layer)
    for entry in port.gids:
        index, kind, gid = entry.split(":", 2)
        _put(folder / "gids" / index, gid)
        _put(folder / "gid_attrs/types" / index, kind)


class _PciWriter:
    """Writes devices below their bridges, and each bridge once."""

    def __init__(self, topology: Topology, root: Path, *, firmware_knows_numa: bool) -> None:
        self._root = root
        self._bridges = {bridge.pci: bridge for bridge in topology.bridges}
        self._knows = firmware_knows_numa
        self._online = topology.cpus_online
        self._local: dict[int | None, frozenset[int]] = {
            node.index: node.cpus for node in topology.numa
        }
        self._ports: dict[tuple[Path, str], Path] = {}
        (root / "sys/bus/pci/devices").mkdir(parents=True)

    def device(self, device: Gpu | Nic, *, pci_id: str, pci_class: str) -> Path:
        """Write one GPU or NIC and return its folder."""
        numa = device.numa if self._knows else None
        folder = self._root / "sys/devices" / device.path[0]
        for part in (*device.path[1:], device.pci):
            folder = self._port(folder, part, numa) / part
            if part != device.pci and not folder.exists():
                bridge = self._bridges.get(part)
                self._function(folder, bridge.pci_id if bridge else "", "0x060400", numa)
                _put_link(folder, bridge.link if bridge else Link())
        self._function(folder, pci_id, pci_class, None if device.numa_inferred else numa)
        _put_link(folder, device.link)
        return folder

    def _port(self, parent: Path, child: str, numa: int | None) -> Path:
        """Return the root or downstream port above a child; functions of one device share it."""
        key = (parent, child.rpartition(".")[0])
        if key not in self._ports:
            number = len(self._ports)
            folder = parent / f"fff4:{number >> 5:02x}:{number & 31:02x}.0"
            self._function(folder, "", "0x060400", numa)
            self._ports[key] = folder
        return self._ports[key]

    def _function(self, folder: Path, pci_id: str, pci_class: str, numa: int | None) -> None:
        vendor, _, device = pci_id.partition(":")
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder / "class", pci_class)
        _put(folder / "numa_node", str(-1 if numa is None else numa))
        _put(folder / "local_cpulist", format_cpulist(self._local.get(numa, self._online)))
        _put(folder / "local_cpus", format_mask(self._local.get(numa, self._online)))
        if vendor and device:
            _put(folder / "vendor", f"0x{vendor}")
            _put(folder / "device", f"0x{device}")
        link = self._root / "sys/bus/pci/devices" / folder.name
        link.symlink_to(Path("../../..") / folder.relative_to(self._root / "sys"))


def _put_link(folder: Path, link: Link) -> None:
    if link.speed_gts is not None:
        _put(folder / "max_link_speed", f"{link.speed_gts:.1f} GT/s PCIe")
    if link.width is not None:
        _put(folder / "max_link_width", str(link.width))


def _put(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        path.write_text(f"{text}\n", encoding="utf-8")
