"""Hosts, switches and the cables between them, as one value, whatever told of them."""

import re
from collections.abc import Iterable, Mapping

from slurmkit.record import Record

_NUMBERS = re.compile(r"(\d+)")


class Attachment(Record):
    """A cable from a host to a switch.

    Attributes:
        host: the host's name as the source has it.
        switch: the switch's name.
        device: the host's end, such as ``mlx5_0``, ``mlx5_0/2`` for its second port, or ``eth2``;
            "" when the source does not tell.
        source: where it stands, such as ``ib.txt:120``; "" when nobody knows.
    """

    host: str
    switch: str
    device: str = ""
    source: str = ""


class Cable(Record):
    """A connection of two switches, however many cables it has; ``one`` sorts before ``other``."""

    one: str
    other: str


class SwitchGraph(Record):
    """A fabric.

    Attributes:
        attachments: cables from hosts to switches.
        cables: connections between switches.
        blocks: name and hosts of each NVLink domain, in order; () where there are none.
        notes: what a reader should know, one sentence each: what was left out, and why.
    """

    attachments: tuple[Attachment, ...] = ()
    cables: tuple[Cable, ...] = ()
    blocks: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host of a cable or block once, in natural order."""
        names = {item.host for item in self.attachments}
        names.update(host for _, hosts in self.blocks for host in hosts)
        return tuple(sorted(names, key=natural))

    @property
    def switches(self) -> tuple[str, ...]:
        """Every switch once, in natural order."""
        names = {item.switch for item in self.attachments}
        names.update(end for cable in self.cables for end in (cable.one, cable.other))
        return tuple(sorted(names, key=natural))

    def neighbours(self) -> Mapping[str, frozenset[str]]:
        """Return the switches that each switch has a cable to."""
        found: dict[str, set[str]] = {name: set() for name in self.switches}
        for cable in self.cables:
            found[cable.one].add(cable.other)
            found[cable.other].add(cable.one)
        return {name: frozenset(names) for name, names in found.items()}

    def with_devices(self, devices: Iterable[str]) -> "SwitchGraph":
        """Return the fabric without cables of other devices: storage HCAs are no compute rails.

        Cables whose device nobody knows stay.
        """
        wanted = {*devices, ""}
        kept = tuple(i for i in self.attachments if {i.device, i.device.partition("/")[0]} & wanted)
        left = {item.device for item in kept}
        dropped = sorted({item.device for item in self.attachments} - left, key=natural)
        notes = (f"cables of {', '.join(dropped)} were left out",) if dropped else ()
        return self.replace(attachments=kept, notes=(*self.notes, *notes))

    def only(self, hosts: Iterable[str]) -> "SwitchGraph":
        """Return the fabric with these hosts alone, and no cable to any other."""
        wanted = set(hosts)
        blocks = (
            (name, tuple(host for host in members if host in wanted))
            for name, members in self.blocks
        )
        return self.replace(
            attachments=tuple(item for item in self.attachments if item.host in wanted),
            blocks=tuple((name, members) for name, members in blocks if members),
        )


def cable(one: str, other: str) -> Cable:
    """Return the connection of two switches; the order of the two does not matter."""
    return Cable(*sorted((one, other)))


def joined(graphs: Iterable[SwitchGraph]) -> SwitchGraph:
    """Return one fabric of several, such as of the LLDP answers of many hosts."""
    attachments: dict[tuple[str, str, str], Attachment] = {}
    cables: dict[Cable, None] = {}
    blocks: dict[str, dict[str, None]] = {}
    notes: dict[str, None] = {}
    for graph in graphs:
        for item in graph.attachments:
            attachments.setdefault((item.host, item.switch, item.device), item)
        cables.update(dict.fromkeys(graph.cables))
        for name, hosts in graph.blocks:
            blocks.setdefault(name, {}).update(dict.fromkeys(hosts))
        notes.update(dict.fromkeys(graph.notes))
    return SwitchGraph(
        tuple(attachments.values()),
        tuple(cables),
        tuple((name, tuple(hosts)) for name, hosts in blocks.items()),
        tuple(notes),
    )


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which node9 comes before node10."""
    parts = _NUMBERS.split(name)
    return tuple((1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts)
