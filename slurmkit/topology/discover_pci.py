"""The GPUs and RDMA devices of a node, and the PCIe switches between them."""

from slurmkit.record import Record
from slurmkit.topology.model import Bridge, Gpu, Link, Nic, NumaNode, Port, name_key, pci_key
from slurmkit.topology.pci_path import switches_above
from slurmkit.topology.sysfs import Tree

_PCI = "sys/bus/pci/devices"
_INFINIBAND = "sys/class/infiniband"

# Display controllers (VGA, 3D, other) and processing accelerators, by PCI vendor. NVIDIA's data
# centre GPUs are 0x0302, AMD's Instinct 0x0380 or 0x1200; the BMC's VGA is of another vendor.
_GPU_CLASSES = {"0x10de": ("0x0300", "0x0302"), "0x1002": ("0x0300", "0x0302", "0x0380", "0x1200")}

# RoCE tables have 256 entries, nearly all empty: the set ones come first, and reading all of them
# on 24 HCAs takes longer than the rest of discovery.
_MAX_GIDS = 16
_EMPTY_GIDS = ("0000:0000:0000:0000:0000:0000:0000:0000", "fe80:0000:0000:0000:0000:0000:0000:0000")

_DRIVER_PROVIDERS = {"mlx5_core": "mlx5", "mlx4_core": "mlx4", "bnxt_en": "bnxt_re"}


class Devices(Record):
    """What the kernel says about devices; `nvswitch_bridges` are names of NICs."""

    gpus: tuple[Gpu, ...]
    nics: tuple[Nic, ...]
    bridges: tuple[Bridge, ...]
    notes: tuple[str, ...]
    unknown: tuple[str, ...]
    nvswitch_bridges: frozenset[str]


def read_devices(tree: Tree, numa: tuple[NumaNode, ...]) -> Devices:
    """Return the GPUs and NICs of a tree; a NUMA node of -1 is inferred where structure tells."""
    finder = _NumaFinder(tree, numa)
    gpus, excluded = _read_gpus(tree, finder)
    nics = _read_nics(tree, finder)
    paths = [gpu.path for gpu in gpus] + [nic.path for nic in nics]
    switches = sorted({pci for path in paths for pci in path[1:]}, key=pci_key)
    marked = frozenset(nic.name for nic in nics if nic.pci and _manages_nvswitch(tree, nic.pci))
    named: list[tuple[str, str, Gpu | Nic]] = []
    named += [(f"gpus.{gpu.index}", gpu.pci, gpu) for gpu in gpus]
    named += [(f"nics.{nic.name}", nic.name, nic) for nic in nics]
    notes = [f"GPU {pci} is excluded by the driver and not counted." for pci in excluded]
    notes += [
        f"{name} says numa_node -1: NUMA node {device.numa} follows from its place."
        for _key, name, device in named
        if device.numa_inferred
    ]
    lost = [(key, name) for key, name, device in named if device.numa is None]
    notes += [f"{name} says numa_node -1 and its place does not tell a node." for _, name in lost]
    return Devices(
        gpus=tuple(gpus),
        nics=tuple(nics),
        bridges=tuple(Bridge(pci, _pci_id(tree, pci), _link(tree, pci)) for pci in switches),
        notes=tuple(notes),
        unknown=tuple(f"{key}.numa" for key, _ in lost),
        nvswitch_bridges=marked,
    )


def _read_gpus(tree: Tree, finder: "_NumaFinder") -> tuple[list[Gpu], list[str]]:
    found: list[Gpu] = []
    excluded: list[str] = []
    for pci in sorted(tree.names(_PCI), key=pci_key):
        kind = tree.read(f"{_PCI}/{pci}/class") or ""
        if not kind.startswith(("0x03", "0x12")):
            continue
        vendor = tree.read(f"{_PCI}/{pci}/vendor") or ""
        if kind[:6] not in _GPU_CLASSES.get(vendor, ()):
            continue
        facts = _driver_facts(tree, pci)
        if facts.get("GPU Excluded") == "Yes":
            excluded.append(pci)
            continue
        chain = _chain(tree.link(f"{_PCI}/{pci}"))
        node, inferred = finder.find(pci, chain)
        minor = facts.get("Device Minor", "")
        gpu = Gpu(
            index=len(found),
            pci=pci,
            numa=node,
            path=switches_above(chain),
            uuid=facts.get("GPU UUID", ""),
            name=facts.get("Model", ""),
            pci_id=_pci_id(tree, pci),
            minor=int(minor) if minor.isdigit() else None,
            numa_inferred=inferred,
            link=_link(tree, pci),
        )
        found.append(gpu)
    return found, excluded


def _driver_facts(tree: Tree, pci: str) -> dict[str, str]:
    text = tree.read(f"proc/driver/nvidia/gpus/{pci}/information") or ""
    pairs = (line.partition(":") for line in text.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    # The driver fills a UUID it does not know yet with question marks.
    return {name: value for name, value in facts.items() if "??" not in value}


def _read_nics(tree: Tree, finder: "_NumaFinder") -> list[Nic]:
    nics = []
    for name in tree.names(_INFINIBAND):
        chain = _chain(tree.link(f"{_INFINIBAND}/{name}"))
        pci = chain[-1] if len(chain) > 1 else ""
        node, inferred = finder.find(pci, chain) if pci else (None, False)
        driver = tree.link(f"{_PCI}/{pci}/driver").rpartition("/")[2] if pci else ""
        nics.append(
            Nic(
                name=name,
                pci=pci,
                numa=node,
                path=switches_above(chain),
                ports=_ports(tree, name),
                netdevs=tuple(tree.names(f"{_PCI}/{pci}/net")) if pci else (),
                provider=_DRIVER_PROVIDERS.get(driver, driver) or name.rstrip("0123456789_"),
                pci_id=_pci_id(tree, pci) if pci else "",
                board_id=tree.read(f"{_INFINIBAND}/{name}/board_id") or "",
                numa_inferred=inferred,
                link=_link(tree, pci) if pci else Link(),
            )
        )
    return sorted(nics, key=lambda nic: (pci_key(nic.pci), name_key(nic.name)))


def _ports(tree: Tree, name: str) -> tuple[Port, ...]:
    folder = f"{_INFINIBAND}/{name}/ports"
    numbers = sorted(int(number) for number in tree.names(folder) if number.isdigit())
    return tuple(_port(tree, f"{folder}/{number}", number) for number in numbers)


def _port(tree: Tree, folder: str, number: int) -> Port:
    state = tree.read(f"{folder}/state") or ""  # "4: ACTIVE"
    rate = (tree.read(f"{folder}/rate") or "").split()  # "400 Gb/sec (4X NDR)"
    layer = tree.read(f"{folder}/link_layer")  # EFA says "Unspecified"
    return Port(
        number=number,
        state=state.rpartition(":")[2].strip() or "UNKNOWN",
        rate_gbps=_float(rate[0]) if rate else None,
        link_layer=layer if layer in ("InfiniBand", "Ethernet") else "unknown",
        gids=_gids(tree, folder),
    )


def _gids(tree: Tree, folder: str) -> tuple[str, ...]:
    gids = []
    empty = 0
    for index in range(_MAX_GIDS):
        gid = tree.read(f"{folder}/gids/{index}")
        if gid is None or empty == 4:
            break
        if gid in _EMPTY_GIDS:
            empty += 1
            continue
        empty = 0
        kind = tree.read(f"{folder}/gid_attrs/types/{index}") or "IB"
        gids.append(f"{index}:{kind}:{gid}")
    return tuple(gids)


def _manages_nvswitch(tree: Tree, pci: str) -> bool:
    """Whether a ConnectX-7 is the baseboard's bridge to the NVSwitches, not a network card.

    NVIDIA's Fabric Manager finds them by this mark in the vital product data, which root alone may
    read; without it, `assign_roles` goes by the structure.
    """
    if tree.read(f"{_PCI}/{pci}/vendor") != "0x15b3":
        return False
    return b"SMDL=SW_MNG" in (tree.read_bytes(f"{_PCI}/{pci}/vpd", 4096) or b"")


def _chain(link: str) -> tuple[str, ...]:
    """Return root complex, bridges and device of a sysfs link: ``../../devices/pci0000:15/…``."""
    parts = link.split("/")
    roots = [at for at, part in enumerate(parts) if part.startswith("pci") and ":" in part]
    if not roots:
        return ()
    chain = parts[roots[-1] :]
    return (chain[0], *(part for part in chain[1:] if len(pci_key(part)) == 4))


def _pci_id(tree: Tree, pci: str) -> str:
    vendor = tree.read(f"{_PCI}/{pci}/vendor") or ""
    device = tree.read(f"{_PCI}/{pci}/device") or ""
    return f"{vendor.removeprefix('0x')}:{device.removeprefix('0x')}" if vendor and device else ""


def _link(tree: Tree, pci: str) -> Link:
    """Return the link a device can have: an idle GPU lowers its current speed to save power."""
    speed = (tree.read(f"{_PCI}/{pci}/max_link_speed") or "").split()  # "32.0 GT/s PCIe"
    width = tree.number(f"{_PCI}/{pci}/max_link_width")
    # A virtual function, and a device in a virtual machine, reports 255 lanes or none.
    return Link(_float(speed[0]) if speed else None, width if width in range(1, 33) else None)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class _NumaFinder:
    """NUMA nodes of devices, also where the firmware leaves `numa_node` at -1."""

    def __init__(self, tree: Tree, numa: tuple[NumaNode, ...]) -> None:
        self._tree = tree
        self._indexes = [node.index for node in numa]
        self._complexes: dict[str, frozenset[int]] = {}

    def find(self, pci: str, chain: tuple[str, ...]) -> tuple[int | None, bool]:
        """Return the node, and whether it was inferred."""
        node = self._firmware(pci)
        if node is not None:
            return node, False
        for bridge in reversed(chain[1:-1]):
            node = self._firmware(bridge)
            if node is not None:
                return node, True
        if len(self._indexes) == 1:
            return self._indexes[0], True
        nodes = self._nodes_of_complex(chain[0]) if chain else frozenset()
        return (next(iter(nodes)), True) if len(nodes) == 1 else (None, False)

    def _firmware(self, pci: str) -> int | None:
        node = self._tree.number(f"{_PCI}/{pci}/numa_node")
        return node if node in self._indexes else None

    def _nodes_of_complex(self, name: str) -> frozenset[int]:
        if name not in self._complexes:
            members = [
                pci
                for pci in self._tree.names(_PCI)
                if f"/{name}/" in self._tree.link(f"{_PCI}/{pci}")
            ]
            nodes = {self._firmware(pci) for pci in members}
            self._complexes[name] = frozenset(node for node in nodes if node is not None)
        return self._complexes[name]
