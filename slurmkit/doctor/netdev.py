"""Network interfaces as the kernel tells them through ioctls, in this network namespace.

/sys/class/net shows the namespace in which /sys was mounted, which inside a container is another.
Sources: netdevice(7); linux/ethtool.h (ETHTOOL_GLINKSETTINGS is newer, but needs two calls; the old
ETHTOOL_GSET carries every speed that fits 32 bits of Mb/s).
"""

import array
import fcntl
import socket
import struct

from slurmkit.record import Record

_SIOCGIFFLAGS, _SIOCGIFADDR, _SIOCGIFMTU, _SIOCETHTOOL = 0x8913, 0x8915, 0x8921, 0x8946
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_ETHTOOL_GSET = 0x1
_UNKNOWN_SPEED = (0, 0xFFFF, 0xFFFFFFFF)


class Interface(Record):
    """One interface.

    Attributes:
        up: whether somebody switched it on.
        running: whether its link is up, too.
        address: its first IPv4 address; empty for none.
        speed_mbps: None when the driver does not tell.
    """

    name: str
    mtu: int
    up: bool
    running: bool
    address: str = ""
    speed_mbps: int | None = None


def interface(name: str) -> Interface | None:
    """Return an interface of this namespace; None when there is none of that name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            mtu = struct.unpack("i", _ask(probe, _SIOCGIFMTU, name)[16:20])[0]
            flags = struct.unpack("H", _ask(probe, _SIOCGIFFLAGS, name)[16:18])[0]
        except OSError:
            return None
        return Interface(
            name=name,
            mtu=mtu,
            up=bool(flags & _IFF_UP),
            running=bool(flags & _IFF_RUNNING),
            address=_address(probe, name),
            speed_mbps=_speed(probe, name),
        )


def interfaces() -> list[Interface]:
    """Return all interfaces of this namespace but the loopback, by name."""
    names = sorted(name for _, name in socket.if_nameindex() if name != "lo")
    found = (interface(name) for name in names)
    return [item for item in found if item is not None]


def interface_towards(host: str) -> Interface | None:
    """Return the interface that leads to a host; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return None
        own = probe.getsockname()[0]
    return next((item for item in interfaces() if item.address == own), None)


def _ask(probe: socket.socket, request: int, name: str) -> bytes:
    answer: bytes = fcntl.ioctl(probe.fileno(), request, struct.pack("256s", name.encode()[:15]))
    return answer


def _address(probe: socket.socket, name: str) -> str:
    try:
        return socket.inet_ntoa(_ask(probe, _SIOCGIFADDR, name)[20:24])
    except OSError:
        return ""


def _speed(probe: socket.socket, name: str) -> int | None:
    # struct ethtool_cmd: cmd, supported, advertising, speed (16 bits) ... speed_hi at byte 28.
    command = array.array("B", struct.pack("I", _ETHTOOL_GSET).ljust(44, b"\0"))
    request = struct.pack("16sP", name.encode()[:15], command.buffer_info()[0]).ljust(40, b"\0")
    try:
        fcntl.ioctl(probe.fileno(), _SIOCETHTOOL, request)
    except OSError:
        return None
    low, high = struct.unpack_from("H", command, 12)[0], struct.unpack_from("H", command, 28)[0]
    speed = high << 16 | low
    return None if speed in _UNKNOWN_SPEED else speed
