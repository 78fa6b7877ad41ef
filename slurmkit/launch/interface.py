"""Which network interface of this host leads to another."""

import fcntl
import socket
import struct

_SIOCGIFADDR = 0x8915  # netdevice(7)


def interface_to(address: str) -> str:
    """Return the interface whose address this host would send from; "" when that is not clear.

    Nothing is sent: connecting a datagram socket only asks the routing table.

    Args:
        address: a host name or an IPv4 address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:  # no such name, or no way there: the program will say so itself
            return ""
        own = probe.getsockname()[0]
        if own.startswith("127."):
            return ""
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:  # an interface without an IPv4 address
                continue
            if socket.inet_ntoa(answer[20:24]) == own:
                return name
    return ""
