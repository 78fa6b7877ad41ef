"""Do PCIe switches send transfers between devices up through the CPU (ACS)?"""

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped, warn
from slurmkit.topology.discover import discover

# PCI Express base specification, 7.7.11: the ACS capability (id 0x000d), its control register at
# offset 6; request redirect, completion redirect and upstream forwarding send transfers upward.
_ACS_ID, _CONTROL = 0x000D, 6
_REDIRECT = 0x4 | 0x8 | 0x10


def acs_control(config: bytes) -> int | None:
    """Return the ACS control register of a device's configuration space.

    Returns:
        None when the device has no such capability, or only root may read it.
    """
    position = 0x100
    for _ in range(48):
        if position < 0x100 or position + 8 > len(config):
            return None
        header = int.from_bytes(config[position : position + 4], "little")
        if header & 0xFFFF == _ACS_ID:
            return int.from_bytes(config[position + _CONTROL : position + _CONTROL + 2], "little")
        position = header >> 20
    return None


def _look(place: Place) -> Answer:
    bridges = _bridges_above_gpus(place)
    if not bridges:
        return skipped("the node has no GPU behind a PCI bridge")
    on = []
    num_read = 0
    for pci in bridges:
        try:
            config = (place.root / "sys/bus/pci/devices" / pci / "config").read_bytes()
        except OSError:
            continue
        if len(config) <= 0x100:
            continue
        num_read += 1
        control = acs_control(config)
        if control is not None and control & _REDIRECT:
            on.append(pci)
    if not num_read:
        return skipped("only root may read the PCI bridges' configuration")
    facts = {"bridges with ACS": str(len(on))}
    if on:
        more = f" and {len(on) - 4} more" if len(on) > 4 else ""
        return warn(f"ACS redirects at {', '.join(on[:4])}{more}", facts)
    return passed(f"off on {num_read} bridges", facts)


def _bridges_above_gpus(place: Place) -> list[str]:
    """Return the PCI functions between the root complex and each GPU, sorted."""
    found: set[str] = set()
    for gpu in discover(str(place.root)).gpus:
        chain = (place.root / "sys/bus/pci/devices" / gpu.pci).resolve().parts[:-1]
        found |= {part for part in chain if part.count(":") == 2}
    return sorted(found)


LINK = Link(
    id="acs",
    group="transfers",
    reads="the ACS control register of the PCI bridges above the GPUs (as root)",
    limits="warns when a bridge redirects requests to the root complex; fails when nodes differ",
    todo="switch ACS off on bare metal: in the BIOS, or setpci -s BRIDGE ECAP_ACS+0x6.w=0000 at "
    "boot; GPUDirect then goes through the PCIe switch and not through the CPU",
    look=_look,
)
