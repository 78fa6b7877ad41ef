"""Compare the hosts of a fabric with the nodes that are declared: each shall be there once."""

from collections import Counter
from collections.abc import Iterable

from slurmkit.hostlist import compress
from slurmkit.record import Record
from slurmkit.topology.fabric.graph import SwitchGraph, natural


class Audit(Record):
    """What does not fit.

    Attributes:
        missing: declared nodes without any cable or block, in natural order.
        unknown: hosts of the fabric that are not declared: login and storage hosts, most likely.
        twice: host and why it seems to be two machines, or stands in two blocks.
    """

    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    twice: tuple[tuple[str, str], ...] = ()

    def sentences(self) -> list[str]:
        """Return what a person should read."""
        words = []
        if self.missing:
            words.append(f"declared, but without a cable: {compress(self.missing)}")
        if self.unknown:
            words.append(f"in the fabric, but not declared (left out): {compress(self.unknown)}")
        return [*words, *(f"{host} is there twice: {why}" for host, why in self.twice)]


def audit(graph: SwitchGraph, declared: Iterable[str] | None = None) -> Audit:
    """Return what does not fit; without declared nodes only hosts that are there twice."""
    hosts = graph.hosts
    twice = tuple(sorted(_two_cables(graph) + _two_blocks(graph)))
    if declared is None:
        return Audit(twice=twice)
    wanted, found = set(declared), set(hosts)
    return Audit(
        missing=tuple(sorted(wanted - found, key=natural)),
        unknown=tuple(host for host in hosts if host not in wanted),
        twice=tuple((host, why) for host, why in twice if host in wanted),
    )


def _two_cables(graph: SwitchGraph) -> list[tuple[str, str]]:
    """Return hosts whose one port has cables to two switches: two machines with one name.

    Where no device is named, a host has more cables than it can have if most have one.
    """
    ends: dict[tuple[str, str], dict[str, str]] = {}
    for item in graph.attachments:
        ends.setdefault((item.host, item.device), {})[item.switch] = item.source
    unnamed = Counter(len(places) for (_, device), places in ends.items() if not device)
    single = bool(unnamed) and unnamed.most_common(1)[0][0] == 1
    return [
        (
            host,
            (f"{device} at " if device else "at ")
            + " and ".join(_place(*end) for end in places.items()),
        )
        for (host, device), places in ends.items()
        if len(places) > 1 and (device or single)
    ]


def _place(switch: str, source: str) -> str:
    return f"{switch} ({source})" if source else switch


def _two_blocks(graph: SwitchGraph) -> list[tuple[str, str]]:
    homes: dict[str, list[str]] = {}
    for name, hosts in graph.blocks:
        for host in hosts:
            homes.setdefault(host, []).append(name)
    return [
        (host, f"in blocks {' and '.join(names)}") for host, names in homes.items() if names[1:]
    ]
