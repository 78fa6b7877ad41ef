"""Which entry of an HCA's GID table RoCE v2 connections should use: found on the node, not guessed.

A RoCE port has one GID per address and RoCE version. Their order depends on when interfaces came
up, so an index that is right on one node may be another address, or RoCE v1, on the next.

Sources: Documentation/ABI/testing/sysfs-class-infiniband of the kernel (gids, gid_attrs/types,
gid_attrs/ndevs); RFC 4291, section 2.5.5.2 (IPv4-mapped addresses).
"""

from slurmkit.record import Record
from slurmkit.topology.sysfs import Tree

_INFINIBAND = "sys/class/infiniband"
_ROCE_V2 = "RoCE v2"
# Tables have 256 entries; the kernel fills them from the front and leaves gaps only where an
# address was taken away.
_MAX_GAP = 16


class Gid(Record):
    """One entry of a GID table.

    Attributes:
        index: its place in the table.
        kind: ``RoCE v2``, ``IB/RoCE v1``.
        address: the IPv4 address that it maps; empty for any other.
        netdev: the network interface that it belongs to; empty when the kernel does not tell.
    """

    index: int
    kind: str
    address: str
    netdev: str = ""


class RocePort(Record):
    """A port of an HCA whose link layer is Ethernet.

    Attributes:
        hca: such as ``mlx5_0``.
        port: from 1.
        active: whether it is up.
        netdevs: interfaces of the HCA's own PCI function, without VLANs.
        gids: the entries that are set.
    """

    hca: str
    port: int
    active: bool
    netdevs: tuple[str, ...]
    gids: tuple[Gid, ...]


class Choice(Record):
    """The GID indices of a node.

    Attributes:
        index: the one that fits every port; None when there is none.
        by_hca: (``mlx5_0:1``, index) for each port that has one.
        missing: the ports that have none, such as ``mlx5_3:1``.
        unclear: sentences about ports with several, of which the first was taken.
    """

    index: int | None
    by_hca: tuple[tuple[str, int], ...]
    missing: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


def read_roce_ports(tree: Tree) -> tuple[RocePort, ...]:
    """Return the ports with Ethernet below them, in the order of their names."""
    found = []
    for hca in tree.names(_INFINIBAND):
        ports = f"{_INFINIBAND}/{hca}/ports"
        for number in tree.names(ports):
            folder = f"{ports}/{number}"
            if not number.isdigit() or tree.read(f"{folder}/link_layer") != "Ethernet":
                continue
            state = tree.read(f"{folder}/state") or ""
            found.append(
                RocePort(
                    hca=hca,
                    port=int(number),
                    active="ACTIVE" in state,
                    netdevs=tuple(tree.names(f"{_INFINIBAND}/{hca}/device/net")),
                    gids=_read_gids(tree, folder),
                )
            )
    return tuple(found)


def _read_gids(tree: Tree, folder: str) -> tuple[Gid, ...]:
    gids = []
    gap = 0
    for index in range(256):
        text = tree.read(f"{folder}/gids/{index}", 64)
        if not text or not text.strip("0:"):
            gap += 1
            if gap == _MAX_GAP:
                break
            continue
        gap = 0
        kind = tree.read(f"{folder}/gid_attrs/types/{index}", 64) or ""
        netdev = tree.read(f"{folder}/gid_attrs/ndevs/{index}", 64) or ""
        gids.append(Gid(index, kind, _mapped_address(text), netdev))
    return tuple(gids)


def _mapped_address(gid: str) -> str:
    """Return the IPv4 address that a GID maps (``…:ffff:0a01:0203``); empty when it maps none.

    The kernel writes all eight groups in full; `ipaddress` would take longer to import than all of
    this takes to run.
    """
    groups = gid.split(":")
    if len(groups) != 8 or (any(groups[:5]) and set("".join(groups[:5])) != {"0"}):
        return ""
    if groups[5].lower() != "ffff":
        return ""
    try:
        value = int(groups[6] + groups[7].rjust(4, "0"), 16)
    except ValueError:
        return ""
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def choose_gids(
    ports: "tuple[RocePort, ...]", subnet: str = "", named: "tuple[str, ...]" = ()
) -> Choice:
    """Choose the RoCE v2 entry with an IPv4 address on each port.

    Args:
        ports: the node's RoCE ports; those that are down do not count.
        subnet: the fabric's network or networks, such as ``10.1.0.0/16,10.2.0.0/16``; empty for
            any. Ports without an address in it belong to other networks (storage, management) and
            are left out, unless they are named or no port has one.
        named: HCAs that count, such as those of NCCL_IB_HCA; empty for all.

    Raises:
        ValueError: the subnet is none.
    """
    networks = parse_subnets(subnet)
    counted = [port for port in ports if port.active and (not named or port.hca in named)]
    candidates = {_name(port): _candidates(port, networks) for port in counted}
    if networks and not named and any(candidates.values()):
        candidates = {name: gids for name, gids in candidates.items() if gids}
    missing = tuple(name for name, gids in candidates.items() if not gids)
    fitting = {name: gids for name, gids in candidates.items() if gids}
    common = _common(list(fitting.values()))
    by_hca = tuple(
        (name, common if common is not None else gids[0].index) for name, gids in fitting.items()
    )
    unclear = tuple(
        f"{name} has several RoCE v2 addresses ("
        + ", ".join(f"{gid.address} at {gid.index}" for gid in gids)
        + f"); index {dict(by_hca)[name]} was taken"
        for name, gids in fitting.items()
        if len(gids) > 1
    )
    return Choice(common, by_hca, missing, unclear)


def parse_subnets(text: str) -> "list[tuple[int, int]]":
    """Return (network, mask) of each part of ``10.1.0.0/16,10.2.0.0/16``.

    Raises:
        ValueError: one is no IPv4 network.
    """
    found = []
    for part in text.split(","):
        if not part.strip():
            continue
        address, _, bits = part.strip().partition("/")
        length = int(bits or 32)
        if not 0 <= length <= 32:
            raise ValueError(f"a network has 0 to 32 bits, not {length}")
        mask = (1 << 32) - (1 << 32 - length)
        found.append((_number(address) & mask, mask))
    return found


def _number(address: str) -> int:
    parts = [int(part) for part in address.split(".")]
    if len(parts) != 4 or not all(0 <= part <= 255 for part in parts):
        raise ValueError(f"{address!r} is no IPv4 address")
    return parts[0] << 24 | parts[1] << 16 | parts[2] << 8 | parts[3]


def _name(port: RocePort) -> str:
    return f"{port.hca}:{port.port}"


def _candidates(port: RocePort, networks: "list[tuple[int, int]]") -> list[Gid]:
    """Return the entries that fit; those of the HCA's own interface, before its VLANs'."""
    gids = [gid for gid in port.gids if gid.kind == _ROCE_V2 and gid.address]
    if networks:
        gids = [gid for gid in gids if _within(_number(gid.address), networks)]
    own = [gid for gid in gids if gid.netdev and gid.netdev in port.netdevs]
    return own or gids


def _within(address: int, networks: "list[tuple[int, int]]") -> bool:
    return any(address & mask == network for network, mask in networks)


def _common(choices: "list[list[Gid]]") -> int | None:
    """Return the lowest index that every port has among its candidates."""
    if not choices:
        return None
    shared = set.intersection(*({gid.index for gid in gids} for gids in choices))
    return min(shared, default=None)
