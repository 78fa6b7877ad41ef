"""The node as an SVG picture: a panel per NUMA node, and the matrix of classes."""

from xml.sax.saxutils import escape

from slurmkit.topology.bandwidth import format_bandwidth, nearest_nics, wrong_binding_costs
from slurmkit.topology.distance import distance
from slurmkit.topology.model import DISTANCES, Gpu, Nic, NumaNode, Topology
from slurmkit.topology.picture import describe_numa, describe_role

# Near to far: green to red, told apart in print and by the usual colour blindness, and labelled.
_FILL = dict(zip(DISTANCES, ("#1b7f5c", "#5aa469", "#d9a441", "#d07c3f", "#b0413e"), strict=True))
_PANEL = 560
_GAP = 24
_MARGIN = 28
_ROW = 44
_FONT = "font-family='Inter, Helvetica, Arial, sans-serif'"


def draw_svg(topology: Topology) -> str:
    """Return the picture as the text of an SVG file."""
    nodes = [node for node in topology.numa if node.cpus or _gpus(topology, node)] or list(
        topology.numa
    )
    columns = min(2, len(nodes)) or 1
    sheet = _Sheet()
    width = _MARGIN * 2 + columns * _PANEL + (columns - 1) * _GAP
    sheet.text((_MARGIN, 42), topology.host, size=22)
    sheet.text((_MARGIN, 64), _subtitle(topology), size=13, fill="#5b6470")
    top = 84
    for start in range(0, len(nodes), columns):
        row = nodes[start : start + columns]
        height = max(_height(topology, node) for node in row)
        for column, node in enumerate(row):
            place = (_MARGIN + column * (_PANEL + _GAP), top, _PANEL, height)
            _panel(sheet, topology, node, place)
        top += height + _GAP
    top = _rest(sheet, topology, top)
    if topology.gpus and topology.nics:
        top = _matrix(sheet, topology, top)
    for cost in wrong_binding_costs(topology) if topology.gpus else []:
        for line in _wrapped(cost, int((width - 2 * _MARGIN) / 6.4)):
            sheet.text((_MARGIN, top + 12), line, size=12, fill="#39414b")
            top += 18
    return sheet.svg(width, top + _MARGIN)


def _subtitle(topology: Topology) -> str:
    memory_only = sum(1 for node in topology.numa if not node.cpus)
    words = [
        f"{len(topology.gpus)} GPUs",
        f"{len(topology.nics)} NICs",
        f"{len(topology.smt) or len(topology.cpus_online)} cores",
        f"{len(topology.numa)} NUMA nodes",
    ]
    words += [f"{memory_only} of them memory only"] if memory_only else []
    return " · ".join([*words, f"from {topology.source}"])


def _gpus(topology: Topology, node: NumaNode) -> list[Gpu]:
    return [gpu for gpu in topology.gpus if gpu.numa == node.index]


def _others(topology: Topology, node: NumaNode) -> list[Nic]:
    """Return the NICs of a NUMA node that stand beside none of its GPUs' rows."""
    shown = {nic.name for gpu in _gpus(topology, node) for nic in nearest_nics(topology, gpu)[1]}
    return [nic for nic in topology.nics if nic.numa == node.index and nic.name not in shown]


def _height(topology: Topology, node: NumaNode) -> int:
    others = len(_others(topology, node))
    rows = max(1, len(_gpus(topology, node)))
    return 66 + rows * _ROW + (22 * ((others + 1) // 2) + 10 if others else 0)


def _panel(
    sheet: "_Sheet", topology: Topology, node: NumaNode, place: tuple[int, int, int, int]
) -> None:
    """Draw one NUMA node."""
    left, top, _, _ = place
    gpus = _gpus(topology, node)
    sheet.box(place, fill="#f5f7f9", stroke="#ccd3da")
    sheet.text((left + 18, top + 28), f"NUMA node {node.index}", size=15)
    sheet.text((left + 18, top + 47), describe_numa(topology, node), size=12, fill="#5b6470")
    for row, gpu in enumerate(gpus):
        _gpu_row(sheet, gpu, nearest_nics(topology, gpu), (left + 18, top + 60 + row * _ROW))
    if not gpus:
        sheet.text((left + 18, top + 84), "no GPU", size=13, fill="#8a929c")
    below = top + 66 + max(1, len(gpus)) * _ROW
    for number, nic in enumerate(_others(topology, node)):
        x, y = left + 18 + (number % 2) * 264, below + 12 + (number // 2) * 22
        sheet.text((x, y), f"{nic.name}: {_short_role(nic)}", size=12, fill="#8a929c")


def _short_role(nic: Nic) -> str:
    return describe_role(nic).partition(" (")[0]


def _gpu_row(
    sheet: "_Sheet", gpu: Gpu, near: tuple[str, list[Nic]], corner: tuple[int, int]
) -> None:
    left, top = corner
    kind, nics = near
    sheet.box((left, top, 190, 34), fill="#ffffff", stroke="#3b6ea5", radius=5)
    sheet.text((left + 10, top + 22), f"GPU {gpu.index}", size=13)
    sheet.text((left + 72, top + 22), gpu.pci or "address unknown", size=11, fill="#5b6470")
    if not nics:
        sheet.text((left + 206, top + 22), "no NIC for collectives", size=12, fill="#b0413e")
        return
    sheet.line(left + 190, left + 312, top + 17, colour=_FILL[kind])
    label = f"{kind} {format_bandwidth(gpu, nics)}".strip()
    sheet.box((left + 204, top + 6, 94, 22), fill=_FILL[kind], stroke=_FILL[kind], radius=11)
    sheet.text((left + 251, top + 21), label, size=11, fill="#ffffff", anchor="middle")
    sheet.box((left + 312, top, 212, 34), fill="#ffffff", stroke="#7a8591", radius=5)
    sheet.text((left + 322, top + 15), _names(nics), size=12)
    sheet.text((left + 322, top + 28), _rates(nics), size=10, fill="#5b6470")


def _names(nics: list[Nic]) -> str:
    names = [nic.name for nic in nics]
    text = ", ".join(names)
    return text if len(text) <= 24 else f"{names[0]} … {names[-1]}"


def _rates(nics: list[Nic]) -> str:
    rates = {nic.rate_gbps for nic in nics}
    rate = next(iter(rates)) if len(rates) == 1 else None
    times = f"{len(nics)} x " if len(nics) > 1 else ""
    words = [f"{times}{rate:g} Gb/s"] if rate else ["rate unknown"]
    words += sorted({port.link_layer for nic in nics for port in nic.ports} - {"unknown"})
    words += [nics[0].pci] if len(nics) == 1 and nics[0].pci else []
    return " · ".join(words)


def _rest(sheet: "_Sheet", topology: Topology, top: int) -> int:
    """Draw what has no known NUMA node, and return where to go on."""
    names = [f"GPU {gpu.index}" for gpu in topology.gpus if topology.numa_node(gpu.numa) is None]
    names += [nic.name for nic in topology.nics if topology.numa_node(nic.numa) is None]
    if not names:
        return top
    sheet.text(
        (_MARGIN, top + 8), f"NUMA node unknown: {', '.join(names)}", size=13, fill="#b0413e"
    )
    return top + 30


def _matrix(sheet: "_Sheet", topology: Topology, top: int) -> int:
    """Draw the classes, a row per NIC and a column per GPU, and return where to go on."""
    cell, high, label = 66, 22, 150
    for column, gpu in enumerate(topology.gpus):
        x = _MARGIN + label + column * cell + cell / 2
        sheet.text((x, top + 14), f"GPU {gpu.index}", size=12, anchor="middle", fill="#39414b")
    top += 24
    for nic in topology.nics:
        fill = "#14181d" if nic.role == "compute" else "#8a929c"
        sheet.text((_MARGIN, top + 15), nic.name, size=12, fill=fill)
        for column, gpu in enumerate(topology.gpus):
            kind = distance(gpu, nic)
            x = _MARGIN + label + column * cell
            used = nic.role == "compute"
            tint, ink = (_FILL[kind], "#ffffff") if used else ("#eceff2", "#8a929c")
            sheet.box((x + 1, top + 1, cell - 2, high - 2), fill=tint)
            sheet.text((x + cell / 2, top + 15), kind, size=11, fill=ink, anchor="middle")
        top += high
    x = _MARGIN
    for kind, meaning in zip(
        DISTANCES,
        (
            "one PCIe switch",
            "several switches",
            "through the CPU",
            "between host bridges",
            "between NUMA nodes",
        ),
        strict=True,
    ):
        sheet.box((x, top + 14, 14, 14), fill=_FILL[kind], stroke=_FILL[kind])
        sheet.text((x + 20, top + 25), f"{kind} {meaning}", size=11, fill="#5b6470")
        x += 36 + int(6.6 * len(f"{kind} {meaning}"))
    return top + 48


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


class _Sheet:
    """Collects shapes."""

    def __init__(self) -> None:
        self._shapes: list[str] = []

    def box(
        self,
        place: tuple[float, float, float, float],
        *,
        fill: str,
        stroke: str = "none",
        radius: int = 3,
    ) -> None:
        x, y, width, height = place
        self._shapes.append(
            f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='{radius}' "
            f"fill='{fill}' stroke='{stroke}'/>"
        )

    def line(self, left: float, right: float, y: float, *, colour: str) -> None:
        self._shapes.append(
            f"<line x1='{left:g}' x2='{right:g}' y1='{y:g}' y2='{y:g}' stroke='{colour}' "
            "stroke-width='2'/>"
        )

    def text(
        self,
        place: tuple[float, float],
        text: str,
        *,
        size: int,
        fill: str = "#14181d",
        anchor: str = "start",
    ) -> None:
        x, y = place
        # What is the darkest is what names things: it is the bold one, too.
        weight = 600 if fill in ("#14181d", "#ffffff") else 400
        self._shapes.append(
            f"<text x='{x:g}' y='{y:g}' font-size='{size}' font-weight='{weight}' fill='{fill}' "
            f"text-anchor='{anchor}'>{escape(text)}</text>"
        )

    def svg(self, width: float, height: float) -> str:
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
            f"viewBox='0 0 {width:g} {height:g}' {_FONT}>"
        )
        background = f"<rect width='{width:g}' height='{height:g}' fill='#ffffff'/>"
        return "\n".join([head, background, *self._shapes, "</svg>\n"])
