"""Can the HCAs reach GPU memory without a copy through the host?"""

import re

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped, warn
from slurmkit.doctor.nics import compute_nics
from slurmkit.topology.discover import discover

_PEER = ("nvidia_peermem", "nv_peer_mem")
_KERNEL = re.compile(r"(\d+)\.(\d+)")


def has_dma_buf(kernel: str, driver: str) -> bool:
    """Whether GPU memory can be shared by dma-buf: Linux 5.12 and the open kernel module.

    Source: NVIDIA GPU Operator documentation, "GPUDirect RDMA using DMA-BUF".
    """
    found = _KERNEL.match(kernel)
    new = found is not None and (int(found[1]), int(found[2])) >= (5, 12)
    return new and "Open Kernel Module" in driver


def _look(place: Place) -> Answer:
    gpus = [gpu for gpu in discover(str(place.root)).gpus if gpu.is_nvidia]
    if not gpus or not compute_nics(place):
        return skipped("the node has no NVIDIA GPU with a compute HCA")
    modules = {line.split()[0] for line in place.read("proc/modules").splitlines() if line}
    peer = next((name for name in _PEER if name in modules), "")
    if not peer and any(place.names(f"sys/module/{name}") for name in _PEER):
        peer = _PEER[0]
    by_dma_buf = has_dma_buf(
        place.read("proc/sys/kernel/osrelease"), place.read("proc/driver/nvidia/version")
    )
    facts = {"GPUDirect RDMA": peer or ("dma-buf" if by_dma_buf else "none")}
    if peer or by_dma_buf:
        return passed(facts["GPUDirect RDMA"], facts)
    return warn("neither nvidia-peermem nor dma-buf: every transfer is copied by the host", facts)


LINK = Link(
    id="gpudirect",
    group="transfers",
    reads="/proc/modules (nvidia_peermem), the kernel's release and the driver's kind of module",
    limits="warns when there are GPUs and HCAs and neither way; fails when nodes differ",
    todo="modprobe nvidia-peermem, and name it in /etc/modules-load.d; or install the driver's "
    "open kernel module on Linux 5.12 or newer, which has dma-buf",
    look=_look,
    rdma=True,
)
