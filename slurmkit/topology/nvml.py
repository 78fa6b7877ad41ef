"""What NVML adds to a discovered node: UUIDs, names, MIG devices and NVLink.

NVML is optional and late: `pynvml` (the package nvidia-ml-py) is imported here alone, and loading
the driver's library takes longer than all of discovery.
"""

import contextlib
import importlib
from collections import Counter
from typing import Any

from slurmkit.topology.model import Gpu, MigDevice, NvLinkPeer, Topology, pci_key


def add_nvml(topology: Topology) -> Topology:
    """Return the topology with what NVML knows, or with a note why NVML does not answer."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return _with_note(topology, "NVML was not asked: nvidia-ml-py is not installed.")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return _with_note(topology, f"NVML does not answer: {error}.")
    try:
        handles = _handles(nvml)
        gpus = tuple(
            _enriched(nvml, handles[gpu.pci], gpu, set(handles)) if gpu.pci in handles else gpu
            for gpu in topology.gpus
        )
    except nvml.NVMLError as error:
        return _with_note(topology, f"NVML failed: {error}.")
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return topology.replace(gpus=gpus)


def _with_note(topology: Topology, note: str) -> Topology:
    return topology.replace(notes=(*topology.notes, note))


def _handles(nvml: Any) -> dict[str, Any]:
    handles = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        handles[sysfs_address(_text(nvml.nvmlDeviceGetPciInfo(handle).busId))] = handle
    return handles


def sysfs_address(bus_id: str) -> str:
    """Return ``0000:1b:00.0`` of NVML's ``00000000:1B:00.0``."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{int(domain or '0', 16):04x}:{rest}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _enriched(nvml: Any, handle: Any, gpu: Gpu, gpu_addresses: set[str]) -> Gpu:
    return gpu.replace(
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        minor=int(nvml.nvmlDeviceGetMinorNumber(handle)),
        mig=_mig_devices(nvml, handle),
        nvlink_peers=_nvlink_peers(nvml, handle, gpu_addresses),
    )


def _mig_devices(nvml: Any, handle: Any) -> tuple[MigDevice, ...]:
    found = []
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
        count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if current else 0
    except nvml.NVMLError:  # GPUs before Ampere have no MIG
        return ()
    for index in range(count):
        try:
            mig = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError_NotFound:
            continue
        profile = _text(nvml.nvmlDeviceGetName(mig)).rpartition("MIG ")[2]
        found.append(MigDevice(uuid=_text(nvml.nvmlDeviceGetUUID(mig)), profile=profile))
    return tuple(found)


def _nvlink_peers(nvml: Any, handle: Any, gpu_addresses: set[str]) -> tuple[NvLinkPeer, ...]:
    targets: Counter[str] = Counter()
    for link in range(nvml.NVML_NVLINK_MAX_LINKS):
        try:
            if nvml.nvmlDeviceGetNvLinkState(handle, link) != nvml.NVML_FEATURE_ENABLED:
                continue
            remote = nvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link)
        except nvml.NVMLError:  # fewer links than the largest GPU has, or none
            break
        targets[sysfs_address(_text(remote.busId))] += 1
    return tuple(
        NvLinkPeer(target, count, "gpu" if target in gpu_addresses else "switch")
        for target, count in sorted(targets.items(), key=lambda pair: pci_key(pair[0]))
    )
