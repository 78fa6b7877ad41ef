"""Do the GPUs and the RDMA devices have all the lanes and the speed of their slots?"""

import os
import re

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped, warn
from slurmkit.health.checks.gpu_count import on_the_bus
from slurmkit.health.verdict import DRAIN

_SPEED = re.compile(r"([\d.]+)")
_MOST = 8


def _look(node: Node) -> Found:
    gpus, rdma = on_the_bus(node), _rdma_devices(node)
    labels = {name: f"{rdma[name]} ({name})" for name in rdma} | {n: f"GPU {n}" for n in gpus}
    bad: list[str] = []
    odd: list[str] = []
    looked = 0
    for name, label in sorted(labels.items()):
        folder = f"sys/bus/pci/devices/{name}"
        width, best_width = _widths(node, folder)
        # A virtual function says 0: it has no link of its own.
        if not width or best_width is None:
            continue
        looked += 1
        if width < best_width:
            bad.append(f"{label} has {width:g} of {best_width:g} lanes")
        speed, best_speed = _speeds(node, folder)
        if speed and best_speed and speed < best_speed:
            # GPUs lower the speed of an idle link by themselves; NICs do not.
            (odd if name in gpus else bad).append(
                f"{label} runs at {speed:g} of {best_speed:g} GT/s"
            )
    if bad:
        return fail("; ".join(bad[:_MOST]))
    if odd:
        return warn("; ".join(odd[:_MOST]))
    return passed(f"{looked} links") if looked else skipped("no PCIe link tells its width")


def _rdma_devices(node: Node) -> dict[str, str]:
    """Return the name of each RDMA device by its PCI address: its folder lies below that one's."""
    folder = node.root / "sys/class/infiniband"
    return {
        (folder / name).resolve().parents[1].name: name
        for name in node.names("sys/class/infiniband")
    }


def _widths(node: Node, folder: str) -> tuple[float | None, float | None]:
    width, own = (
        node.number(f"{folder}/current_link_width"),
        node.number(f"{folder}/max_link_width"),
    )
    return width, _least(own, node.number(f"{_parent(node, folder)}/max_link_width"))


def _speeds(node: Node, folder: str) -> tuple[float | None, float | None]:
    parent = _parent(node, folder)
    limits = (_gts(node, f"{folder}/max_link_speed"), _gts(node, f"{parent}/max_link_speed"))
    return _gts(node, f"{folder}/current_link_speed"), _least(*limits)


def _parent(node: Node, folder: str) -> str:
    """Return the port above a device: what the slot can do is no fault of the device."""
    real = os.path.realpath(node.root / folder)
    return os.path.relpath(os.path.dirname(real), node.root)  # noqa: PTH120 (text, not a path)


def _gts(node: Node, path: str) -> float | None:
    found = _SPEED.match(node.read(path))
    return float(found[1]) if found else None


def _least(own: float | None, above: float | None) -> float | None:
    known = [value for value in (own, above) if value]
    return min(known) if known else None


CHECK = Check(
    id="pcie-link",
    reads="current and highest width and speed of the PCIe links of GPUs and RDMA devices, and "
    "what the slot above them can do, in /sys",
    limits="fails when a link has fewer lanes than it could, or an RDMA device a lower speed; "
    "warns of a GPU's lower speed, which may be idling",
    action=DRAIN,
    function=_look,
    advice="Lanes that are missing mostly come from a card or riser that does not sit well. Take "
    "the power away, put it in anew, and look again.",
)
