"""NCCL's topology XML, as NCCL_TOPO_DUMP_FILE writes and NCCL_TOPO_FILE reads it, in and out.

Source: `src/graph/xml.cc` and `topo.cc` of NCCL. The format knows no host bridges, no SMT siblings
and no memory: NICs of one CPU behind different switches are PHB here, as they are for NCCL.
"""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from slurmkit.errors import UsageError
from slurmkit.topology.cpuset import format_mask, parse_mask
from slurmkit.topology.model import (
    Bridge,
    Gpu,
    Link,
    Nic,
    NumaNode,
    NvLinkPeer,
    Port,
    Topology,
    name_key,
    pci_key,
)
from slurmkit.topology.roles import assign_roles
from slurmkit.topology.xmlfile import decimal, number, parse_xml

_GPU_CLASS = "0x030200"
_SWITCH_CLASS = "0x060400"
_NVSWITCH_CLASS = "0x068000"


def from_nccl_xml(text: str, host: str = "unknown") -> Topology:
    """Return the node that an NCCL topology file describes.

    Raises:
        UsageError: when the text is not such a file.
    """
    system = parse_xml(text, "the NCCL topology")
    cpus = system.findall("cpu")
    if system.tag != "system" or not cpus:
        raise UsageError(
            "this XML is not an NCCL topology: it has no <system> with <cpu>",
            hint="NCCL writes one when NCCL_TOPO_DUMP_FILE is set.",
        )
    reader = _Reader()
    for cpu in cpus:
        reader.cpu(cpu)
    return reader.topology(host)


class _Reader:
    """Gathers devices while it walks down from each CPU."""

    def __init__(self) -> None:
        self._numa: dict[int, NumaNode] = {}
        self._gpus: list[tuple[int | None, Gpu]] = []
        self._nics: dict[str, Nic] = {}
        self._bridges: dict[str, Bridge] = {}
        self._notes: list[str] = []

    def cpu(self, cpu: Element) -> None:
        index = number(cpu.get("numaid"))
        numa = index if index is not None and index >= 0 else None
        if numa is not None:
            self._numa[numa] = NumaNode(numa, parse_mask(cpu.get("affinity") or "0"))
        for child in cpu:
            self._walk(child, (f"cpu{cpu.get('numaid', '')}",), numa)

    def _walk(self, element: Element, path: tuple[str, ...], numa: int | None) -> None:
        if element.tag == "nic":
            names = ", ".join(net.get("name", "?") for net in element.findall("net"))
            self._notes.append(f"{names}: no PCI device, so not for RDMA.")
        if element.tag != "pci":
            return
        pci = (element.get("busid") or "").lower()
        gpu, nic = element.find("gpu"), element.find("nic")
        if gpu is not None:
            self._gpu(gpu, element, path, numa)
        if nic is not None:
            for place, net in enumerate(nic.findall("net")):
                self._net(net, place, (element, path), numa)
        inner = element.findall("pci")
        if inner:
            self._bridges[pci] = Bridge(pci, _pci_id(element), _link(element))
        for child in inner:
            self._walk(child, (*path, pci), numa)

    def _gpu(self, gpu: Element, pci: Element, path: tuple[str, ...], numa: int | None) -> None:
        links = [
            NvLinkPeer(
                target=(link.get("target") or "").lower(),
                count=number(link.get("count")) or 0,
                kind="gpu" if (link.get("tclass") or "").startswith("0x03") else "switch",
            )
            for link in gpu.findall("nvlink")
        ]
        found = Gpu(
            index=0,
            pci=(pci.get("busid") or "").lower(),
            numa=numa,
            path=path,
            pci_id=_pci_id(pci),
            link=_link(pci),
            nvlink_peers=tuple(sorted(links, key=lambda link: pci_key(link.target))),
        )
        self._gpus.append((number(gpu.get("dev")), found))

    def _net(
        self, net: Element, place: int, parent: tuple[Element, tuple[str, ...]], numa: int | None
    ) -> None:
        pci, path = parent
        name = net.get("name") or ""
        speed = decimal(net.get("speed"))  # Mb/s
        port = Port(
            # NCCL adds the place among the nets of one device (functions merged) to the port.
            number=max(1, (number(net.get("port")) or 1) - place),
            state="ACTIVE",  # NCCL lists active ports only
            rate_gbps=speed / 1000 if speed else None,
        )
        known = self._nics.get(name)
        if known:
            self._nics[name] = known.replace(ports=(*known.ports, port))
            return
        self._nics[name] = Nic(
            name=name,
            pci=(pci.get("busid") or "").lower(),
            numa=numa,
            path=path,
            ports=(port,),
            provider=name.rstrip("0123456789").rstrip("_"),
            pci_id=_pci_id(pci),
            link=_link(pci),
        )

    def topology(self, host: str) -> Topology:
        online = frozenset(cpu for node in self._numa.values() for cpu in node.cpus)
        nics = sorted(self._nics.values(), key=lambda nic: (pci_key(nic.pci), name_key(nic.name)))
        by_bus = sorted(self._gpus, key=lambda pair: pci_key(pair[1].pci))
        indexes = [dev for dev, _ in by_bus]
        usable = None not in indexes and len(set(indexes)) == len(indexes)
        gpus = [
            gpu.replace(index=dev if usable and dev is not None else at)
            for at, (dev, gpu) in enumerate(by_bus)
        ]
        smt = _infer_smt(list(self._numa.values()))
        notes = ["SMT siblings follow from the two equal halves of the masks."] if smt else []
        unknown = ("numa.memory_mib", "nics.link_layer", "host bridges")
        return assign_roles(
            Topology(
                host=host,
                source="nccl",
                cpus_online=online,
                smt=smt,
                numa=tuple(self._numa[index] for index in sorted(self._numa)),
                gpus=tuple(sorted(gpus, key=lambda gpu: gpu.index)),
                nics=tuple(nics),
                bridges=tuple(self._bridges[pci] for pci in sorted(self._bridges, key=pci_key)),
                notes=(*self._notes, *notes),
                unknown=unknown if smt else ("smt", *unknown),
            )
        )


def _infer_smt(numa: list[NumaNode]) -> tuple[tuple[int, ...], ...]:
    """Return the sibling pairs when the masks leave no doubt, else ().

    Linux on x86 numbers the first thread of every core, then the second: each of several NUMA nodes
    then has two runs, half the number of CPUs apart. Of any other order nothing is assumed.
    """
    online = sorted(cpu for node in numa for cpu in node.cpus)
    half = len(online) // 2
    if len(numa) < 2 or online != list(range(2 * half)):
        return ()
    for node in numa:
        first = sorted(cpu for cpu in node.cpus if cpu < half)
        if not first or first[-1] - first[0] + 1 != len(first):
            return ()
        if node.cpus != {*first, *(cpu + half for cpu in first)}:
            return ()
    return tuple((cpu, cpu + half) for cpu in range(half))


def _pci_id(element: Element) -> str:
    vendor = (element.get("vendor") or "").removeprefix("0x")
    device = (element.get("device") or "").removeprefix("0x")
    return f"{vendor}:{device}" if vendor and device else ""


def _link(element: Element) -> Link:
    return Link(decimal(element.get("link_speed")), number(element.get("link_width")) or None)


def to_nccl_xml(topology: Topology) -> str:
    """Return the topology for NCCL_TOPO_FILE; what is unknown is left out, and NCCL asks the node.

    Storage, management and inactive HCAs are left out too, as in NCCL's own files only what it can
    use stands.

    Raises:
        UsageError: when a device has no PCI address or NUMA node, which the format cannot say.
    """
    system = Element("system", {"version": "1"})
    cpus: dict[int, dict[tuple[str, ...], Element]] = {}
    for node in topology.numa:
        attributes = {"numaid": str(node.index), "affinity": format_mask(node.cpus)}
        cpus[node.index] = {(): SubElement(system, "cpu", attributes)}
    bridges = {bridge.pci: bridge for bridge in topology.bridges}
    for gpu in topology.gpus:
        pci = _place(cpus, bridges, gpu)
        element = SubElement(pci, "gpu", {"dev": str(gpu.index), "rank": str(gpu.index)})
        for peer in gpu.nvlink_peers:
            kind = _GPU_CLASS if peer.kind == "gpu" else _NVSWITCH_CLASS
            link = {"target": peer.target, "count": str(peer.count), "tclass": kind}
            SubElement(element, "nvlink", link)
    dev = 0
    for nic in topology.nics:
        if nic.role != "compute" or not nic.active:
            continue
        # NCCL merges the functions of a NIC into the first.
        merged = nic.replace(pci=f"{nic.pci[:-1]}0" if nic.pci else "")
        pci = _place(cpus, bridges, merged)
        folder = pci.find("nic")
        folder = SubElement(pci, "nic") if folder is None else folder
        for port in nic.ports or (Port(1),):
            if port.state not in ("ACTIVE", "UNKNOWN"):
                continue
            net = {"name": nic.name, "dev": str(dev), "port": str(port.number + len(folder))}
            if port.rate_gbps is not None:
                net["speed"] = str(round(port.rate_gbps * 1000))
            SubElement(folder, "net", net)
            dev += 1
    indent(system)
    return tostring(system, encoding="unicode") + "\n"


def _place(
    cpus: dict[int, dict[tuple[str, ...], Element]], bridges: dict[str, Bridge], device: Gpu | Nic
) -> Element:
    """Return the device's <pci>, with its switches made above it."""
    if not device.pci or device.numa is None or device.numa not in cpus:
        raise UsageError(
            f"{_name(device)} has no known PCI address or NUMA node, which NCCL's format needs",
            hint="Export from discovery on the node; a profile with unknown fields cannot do it.",
        )
    made = cpus[device.numa]
    parent = made[()]
    steps = [step for step in device.path[1:] if len(pci_key(step)) == 4]
    for depth, step in enumerate([*steps, device.pci], start=1):
        key = (*steps[: depth - 1], step)
        if key not in made:
            made[key] = SubElement(parent, "pci", {"busid": step})
            if step == device.pci:
                kind = _GPU_CLASS if isinstance(device, Gpu) else "0x020000"
                _describe(made[key], kind, device.pci_id, device.link)
            else:
                bridge = bridges.get(step, Bridge(step))
                _describe(made[key], _SWITCH_CLASS, bridge.pci_id, bridge.link)
        parent = made[key]
    return parent


def _name(device: Gpu | Nic) -> str:
    return f"GPU {device.index}" if isinstance(device, Gpu) else device.name


def _describe(element: Element, kind: str, pci_id: str, link: Link) -> None:
    element.set("class", kind)
    vendor, _, code = pci_id.partition(":")
    if vendor and code:
        element.set("vendor", f"0x{vendor}")
        element.set("device", f"0x{code}")
    if link.speed_gts is not None:
        element.set("link_speed", f"{link.speed_gts:.1f} GT/s PCIe")
    if link.width is not None:
        element.set("link_width", str(link.width))
