"""Are all GPUs there?"""

import re

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped
from slurmkit.health.verdict import DRAIN

_DEVICE = re.compile(r"nvidia\d+")
_NVIDIA = "0x10de"
# PCI classes of VGA-compatible and of 3D controllers (PCI code and ID assignment specification).
_CLASSES = ("0x0300", "0x0302")


def on_the_bus(node: Node) -> list[str]:
    """Return the addresses of the NVIDIA GPUs that the PCI bus shows."""
    folder = "sys/bus/pci/devices"
    return [
        name
        for name in node.names(folder)
        if node.read(f"{folder}/{name}/vendor") == _NVIDIA
        and node.read(f"{folder}/{name}/class").startswith(_CLASSES)
    ]


def _look(node: Node) -> Found:
    devices = sum(bool(_DEVICE.fullmatch(name)) for name in node.names("dev"))
    bus = len(on_the_bus(node))
    if node.num_gpus is not None and devices < node.num_gpus:
        return fail(f"{devices} of {node.num_gpus} GPUs are there (PCI shows {bus})")
    if bus > devices:
        return fail(f"PCI shows {bus} GPUs, the driver {devices}")
    if not devices and node.num_gpus is None:
        return skipped("the node has no NVIDIA GPU")
    return passed(f"{devices} GPUs")


CHECK = Check(
    id="gpu-count",
    reads="/dev/nvidia* and the PCI devices in /sys",
    limits="fails when there are fewer than the job was given or the site says, or fewer than "
    "PCI shows",
    action=DRAIN,
    function=_look,
    advice="A GPU that PCI does not show has lost its power or its slot: a reboot by taking the "
    "power away may bring it back. One that only the driver does not know has failed to start: "
    "see `gpu-xid`.",
)
