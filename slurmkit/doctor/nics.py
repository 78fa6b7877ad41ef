"""The NICs and interfaces that ranks talk over, as the links of the fabric look at them."""

from slurmkit.doctor.link import Place
from slurmkit.doctor.netdev import Interface, interface, interface_towards
from slurmkit.record import Record
from slurmkit.topology.discover import discover
from slurmkit.topology.model import Nic


class Netdev(Record):
    """The Ethernet side of a compute NIC.

    Attributes:
        hca: the RDMA device, such as ``mlx5_0``.
        name: the interface.
        folder: its folder in /sys, where drivers keep what ioctls do not tell.
        seen: what the kernel says of it; None when it is in another namespace.
    """

    hca: str
    name: str
    folder: str
    seen: Interface | None


def compute_nics(place: Place) -> list[Nic]:
    """Return the HCAs that collectives use, up or down, in the order of their PCI addresses."""
    nics = discover(str(place.root)).nics
    return [nic for nic in nics if nic.role == "compute" and nic.provider != "efa"]


def roce_netdevs(place: Place) -> list[Netdev]:
    """Return the interfaces of compute NICs whose link layer is Ethernet."""
    found = []
    for nic in compute_nics(place):
        if not any(port.link_layer == "Ethernet" for port in nic.ports):
            continue
        for name in nic.netdevs:
            folder = f"sys/bus/pci/devices/{nic.pci}/net/{name}"
            seen = interface(name) or _from_files(place, name, folder)
            found.append(Netdev(nic.name, name, folder, seen))
    return found


def way_to_others(place: Place) -> Interface | None:
    """Return the interface that leads to the next host; None when there is none, or no way."""
    return interface_towards(place.address(place.others[0])) if place.others else None


def _from_files(place: Place, name: str, folder: str) -> Interface | None:
    """Return what /sys says of an interface: it counts where no ioctl can ask, as in a fixture."""
    mtu = place.read(f"{folder}/mtu")
    if not mtu.isdigit():
        return None
    up = place.read(f"{folder}/operstate") == "up"
    speed = place.read(f"{folder}/speed")
    return Interface(name, int(mtu), up, up, "", int(speed) if speed.isdigit() else None)
