"""Is the GPU driver loaded, for every GPU that the bus shows, and the same everywhere?"""

import re

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped
from slurmkit.topology.discover import discover

_VERSION = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")


def version_of(text: str) -> str:
    """Return the driver's release from /proc/driver/nvidia/version; empty when it is not there."""
    found = _VERSION.search(text)
    return found[1] if found else ""


def _look(place: Place) -> Answer:
    text = place.read("proc/driver/nvidia/version")
    version = version_of(text) or place.read("sys/module/nvidia/version")
    gpus = discover(str(place.root)).gpus
    nvidia = [gpu for gpu in gpus if gpu.is_nvidia]
    facts = {"NVIDIA driver": version or "none", "GPUs": str(len(gpus))}
    if not gpus:
        return skipped("the node has no GPU", facts)
    if not nvidia:
        return passed(f"{len(gpus)} GPUs of another vendor", facts)
    if not version:
        return fail(f"PCI shows {len(nvidia)} GPUs, and no driver is loaded", facts)
    flavour = "open" if "Open Kernel Module" in text else "proprietary"
    facts["NVIDIA kernel module"] = flavour
    return passed(f"{version} ({flavour}), {len(nvidia)} GPUs", facts)


LINK = Link(
    id="driver",
    group="system",
    reads="/proc/driver/nvidia/version, /sys/module/nvidia/version and the PCI bus",
    limits="fails when there are NVIDIA GPUs and no driver, or when nodes differ in release, kind "
    "of module or number of GPUs",
    todo="load the driver (modprobe nvidia; see dmesg for why not), and install one release on all "
    "nodes: NCCL and CUDA IPC do not work across driver releases",
    look=_look,
)
