"""Import hwloc's XML, as ``lstopo --of xml`` writes it (versions 1.x, 2.x and 3.x).

Source: hwloc's documentation, "Importing and exporting topologies from/to XML files".
"""

from xml.etree.ElementTree import Element

from slurmkit.errors import UsageError
from slurmkit.topology.cpuset import parse_mask
from slurmkit.topology.model import Bridge, Gpu, Nic, NumaNode, Port, Topology, name_key, pci_key
from slurmkit.topology.pci_path import switches_above
from slurmkit.topology.roles import assign_roles
from slurmkit.topology.xmlfile import number, parse_xml

_GPU_VENDORS = ("10de", "1002")
_GPU_CLASSES = ("0300", "0302", "0380", "1200")
_PORT_STATES = {"0": "NOP", "1": "DOWN", "2": "INIT", "3": "ARMED", "4": "ACTIVE"}


def from_hwloc_xml(text: str) -> Topology:
    """Return the node that an hwloc file describes.

    Raises:
        UsageError: when the text is not such a file.
    """
    root = parse_xml(text, "the hwloc topology")
    machine = root.find("object")
    if root.tag != "topology" or machine is None or machine.get("type") != "Machine":
        raise UsageError(
            "this XML is not an hwloc topology: it has no <topology> with a Machine",
            hint="Write one with: lstopo --whole-io --of xml FILE.xml",
        )
    reader = _Reader(old_types=not root.get("version", "").startswith("3"))
    reader.walk(machine, (), frozenset())
    return reader.topology(_infos(machine).get("HostName", "unknown"), _latencies(root))


class _Reader:
    """Gathers objects while it walks down from the machine."""

    def __init__(self, *, old_types: bool) -> None:
        self._old_types = old_types
        self._numa: dict[int, NumaNode] = {}
        self._cores: list[tuple[int, ...]] = []
        self._pus: set[int] = set()
        self._gpus: list[tuple[Gpu, frozenset[int]]] = []
        self._nics: list[tuple[Nic, frozenset[int]]] = []
        self._bridges: dict[str, Bridge] = {}

    def walk(self, element: Element, chain: tuple[str, ...], cpus: frozenset[int]) -> None:
        """Take one object and what is in it; `chain` is the PCI path, `cpus` those it is near."""
        kind = element.get("type")
        if element.get("cpuset"):
            cpus = parse_mask(element.get("cpuset", "0"))
        if kind == "NUMANode":
            self._numa_node(element, cpus)
        elif kind == "Core":
            self._cores.append(tuple(sorted(cpus)))
        elif kind == "PU":
            self._pus |= cpus
        elif kind == "Bridge":
            chain = (*chain, self._bridge(element))
        elif kind == "PCIDev":
            self._device(element, chain, cpus)
        for child in element.findall("object"):
            self.walk(child, chain, cpus)

    def _numa_node(self, element: Element, cpus: frozenset[int]) -> None:
        index = number(element.get("os_index"))
        if index is None:
            return
        memory = number(element.get("local_memory"))  # bytes
        self._numa[index] = NumaNode(index, cpus, memory // 2**20 if memory is not None else None)

    def _bridge(self, element: Element) -> str:
        if element.get("bridge_type", "").startswith("0"):
            span = element.get("bridge_pci", "")  # "0000:[15-1f]"
            return f"pci{span.partition(':')[0]}:{span.partition('[')[2].partition('-')[0]}"
        pci = _address(element)
        self._bridges[pci] = Bridge(pci, _pci_id(element))
        return pci

    def _device(self, element: Element, chain: tuple[str, ...], cpus: frozenset[int]) -> None:
        pci = _address(element)
        path = switches_above((*chain, pci))
        pci_id = _pci_id(element)
        if element.get("pci_type", "")[:4] in _GPU_CLASSES and pci_id[:4] in _GPU_VENDORS:
            infos: dict[str, str] = {}
            for child in element.findall("object"):
                infos |= _infos(child)
            gpu = Gpu(
                index=0,
                pci=pci,
                numa=None,
                path=path,
                uuid=infos.get("NVIDIAUUID", infos.get("AMDUUID", "")),
                name=infos.get("GPUModel", ""),
                pci_id=pci_id,
            )
            self._gpus.append((gpu, cpus))
        children = element.findall("object")
        netdevs = [child.get("name", "") for child in children if "Address" in _infos(child)]
        for child in children:
            if not self._is_hca(child):
                continue
            name = child.get("name", "")
            nic = Nic(
                name=name,
                pci=pci,
                numa=None,
                path=path,
                ports=_ports(_infos(child)),
                netdevs=tuple(netdevs),
                provider=name.rstrip("0123456789").rstrip("_"),
                pci_id=pci_id,
            )
            self._nics.append((nic, cpus))

    def topology(self, host: str, latencies: dict[int, tuple[int, ...]]) -> Topology:
        """Return what was gathered."""
        if not self._numa:
            self._numa[0] = NumaNode(0, frozenset(self._pus))
        gpus = sorted(self._gpus, key=lambda pair: pci_key(pair[0].pci))
        nics = sorted(self._nics, key=lambda pair: (pci_key(pair[0].pci), name_key(pair[0].name)))
        paths = [gpu.path for gpu, _ in gpus] + [nic.path for nic, _ in nics]
        used = sorted({part for path in paths for part in path[1:]}, key=pci_key)
        placed_gpus = [
            gpu.replace(index=index, numa=self._nearest(cpus))
            for index, (gpu, cpus) in enumerate(gpus)
        ]
        placed_nics = [nic.replace(numa=self._nearest(cpus)) for nic, cpus in nics]
        unknown = ["gpus.link", "nics.link", "nics.rate_gbps", "nics.link_layer"]
        unknown += [f"gpus.{gpu.index}.numa" for gpu in placed_gpus if gpu.numa is None]
        unknown += [f"nics.{nic.name}.numa" for nic in placed_nics if nic.numa is None]
        return assign_roles(
            Topology(
                host=host,
                source="hwloc",
                cpus_online=frozenset(self._pus),
                smt=tuple(sorted(self._cores)),
                numa=tuple(
                    self._numa[index].replace(distances=latencies.get(index, ()))
                    for index in sorted(self._numa)
                ),
                gpus=tuple(placed_gpus),
                nics=tuple(placed_nics),
                bridges=tuple(self._bridges[pci] for pci in used if pci in self._bridges),
                unknown=tuple(unknown),
            )
        )

    def _is_hca(self, element: Element) -> bool:
        """Whether a device is OpenFabrics: 3 up to hwloc 2; since then types are bits."""
        names = _infos(element)
        is_old = self._old_types and element.get("osdev_type") == "3"
        marked = is_old or "NodeGUID" in names or "Port1State" in names
        return element.get("type") == "OSDev" and marked

    def _nearest(self, cpus: frozenset[int]) -> int | None:
        """Return the one NUMA node that an I/O object's CPUs lie in; all CPUs means unknown."""
        holders = [node.index for node in self._numa.values() if node.cpus and cpus <= node.cpus]
        return holders[0] if cpus and len(holders) == 1 else None


def _infos(element: Element) -> dict[str, str]:
    return {info.get("name", ""): info.get("value", "") for info in element.findall("info")}


def _address(element: Element) -> str:
    return (element.get("pci_busid") or "").lower()


def _pci_id(element: Element) -> str:
    """Return ``10de:2330`` of a pci_type such as ``0302 [10de:2330] [10de:16c1] a1``."""
    return element.get("pci_type", "").partition("[")[2].partition("]")[0].lower()


def _ports(infos: dict[str, str]) -> tuple[Port, ...]:
    ports = []
    for index in range(1, 17):
        state = infos.get(f"Port{index}State")
        if state is None:
            continue
        gids = [(at, infos.get(f"Port{index}GID{at}")) for at in range(16)]
        ports.append(
            Port(
                number=index,
                state=_PORT_STATES.get(state, "UNKNOWN"),
                gids=tuple(f"{at}:IB:{gid}" for at, gid in gids if gid),
            )
        )
    return tuple(ports)


def _latencies(root: Element) -> dict[int, tuple[int, ...]]:
    """Return each NUMA node's distances of hwloc 2's ``<distances2 name="NUMALatency">``."""
    for matrix in root.findall("distances2"):
        if matrix.get("type") != "NUMANode" or matrix.get("name") != "NUMALatency":
            continue
        indexes = [number(word) for word in _words(matrix, "indexes")]
        values = [number(word) for word in _words(matrix, "u64values")]
        size = len(indexes)
        if size and len(values) == size * size and None not in values:
            rows = [values[at * size : (at + 1) * size] for at in range(size)]
            return {
                index: tuple(value for value in row if value is not None)
                for index, row in zip(indexes, rows, strict=True)
                if index is not None
            }
    return {}


def _words(matrix: Element, tag: str) -> list[str]:
    return " ".join(element.text or "" for element in matrix.findall(tag)).split()
