"""The fabric of what an InfiniBand tool lists: switches, adapters and cables, told by GUIDs."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from slurmkit.topology.fabric.graph import Attachment, Cable, SwitchGraph, cable
from slurmkit.topology.fabric.names import ca_name, is_aggregation, switch_name


class Wire(NamedTuple):
    """A cable, seen from a switch.

    Attributes:
        switch: GUID of the switch.
        peer: GUID of what is at the other end.
        port: number of the port there.
        to_adapter: whether it is an adapter, and no switch or router.
        line: where it is listed, counted from 1.
    """

    switch: str
    peer: str
    port: int
    to_adapter: bool
    line: int


def fabric(
    switches: Mapping[str, str],
    adapters: Mapping[str, str],
    wires: Iterable[Wire],
    file: str,
    notes: Iterable[str] = (),
) -> SwitchGraph:
    """Return the fabric of a listing; a cable that is listed from both its ends counts once.

    Args:
        switches: description of each switch by its GUID.
        adapters: description of each adapter by its GUID.
        wires: the cables; those to a router lead nowhere.
        file: name of the listing, for messages.
        notes: what else a reader should know.
    """
    names = _unique({guid: switch_name(text, guid) for guid, text in switches.items()})
    attachments: dict[tuple[str, str, str], Attachment] = {}
    cables: set[Cable] = set()
    unnamed: set[str] = set()
    for wire in wires:
        name = names[wire.switch]
        if wire.peer in names and wire.peer != wire.switch:
            cables.add(cable(name, names[wire.peer]))
            continue
        description = adapters.get(wire.peer, "")  # the listing may be cut off before it
        if wire.to_adapter and not is_aggregation(description):
            host, device = ca_name(description)
            if not host:
                unnamed.add(wire.peer)
                continue
            # An adapter of two ports may well have cables to two switches.
            key = (host, name, f"{device}/{wire.port}" if wire.port > 1 else device)
            attachments.setdefault(key, Attachment(*key, f"{file}:{wire.line}"))
    if unnamed:
        without = f"{len(unnamed)} adapters have no host name in their description, such as GUID"
        service = "rdma-ndd or the distribution's service sets it"
        notes = (*notes, f"{without} {min(unnamed)}; {service}")
    ordered = sorted(cables, key=lambda item: (item.one, item.other))
    return SwitchGraph(tuple(attachments.values()), tuple(ordered), notes=tuple(notes))


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    """Return names that tell switches apart: where two have one name, the GUID is part of it."""
    counts = Counter(names.values())
    return {
        guid: name if counts[name] == 1 else f"{name}-{guid[-8:]}" for guid, name in names.items()
    }
