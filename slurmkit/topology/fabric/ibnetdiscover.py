"""Read what ``ibnetdiscover`` prints.

Form (ibnetdiscover(8), "Topology file format"): a block per switch or adapter, begun by a line
``Switch 65 "S-GUID" # "NAME" ...`` or ``Ca 1 "H-GUID" # "NAME"``, then a line per cable:
``[3] "H-GUID"[1](PORTGUID) # "NAME" lid 5 4xNDR``. ibdiagnet writes the same as
``ibdiagnet2.ibnetdiscover``.
"""

import re
from typing import NamedTuple

from slurmkit.errors import Location
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import Attachment, SwitchGraph, cable
from slurmkit.topology.fabric.names import ca_name, is_aggregation, switch_name

_HEAD = re.compile(r'(Switch|Ca|Rt)\s+\d+\s+"([SHR])-([0-9a-fA-F]+)"\s*#\s*"([^"]*)"')
_PORT = re.compile(
    r'\[(\d+)\](?:\[[^\]]*\])*(?:\([0-9a-fA-F]+\))?\s+"([SHR])-([0-9a-fA-F]+)"\s*\[(\d+)\]'
)


class _Wire(NamedTuple):
    switch: str  # its GUID
    kind: str  # of the peer: S, H or R
    peer: str  # its GUID
    port: int  # of the peer
    line: int


def read_ibnetdiscover(text: str, file: str = "") -> SwitchGraph:
    """Return the fabric of a file.

    Args:
        text: what ibnetdiscover printed.
        file: its name, for messages.

    Raises:
        FabricError: there is no switch in it, or a line is cut off.
    """
    switches: dict[str, str] = {}
    adapters: dict[str, str] = {}
    wires: list[_Wire] = []
    current = ("", "")
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            match = _PORT.match(line)
            if match is None:
                raise FabricError(
                    "this is no cable line of ibnetdiscover", Location(file, number, 1)
                )
            if current[0] == "S":
                wires.append(_Wire(current[1], match[2], match[3].lower(), int(match[4]), number))
        elif match := _HEAD.match(line):
            kind, guid, name = match[2], match[3].lower(), match[4]
            current = (kind, guid)
            if kind == "S":
                switches[guid] = switch_name(name, guid)
            elif kind == "H":
                adapters[guid] = name
        elif line.startswith(("Switch", "Ca\t", "Ca ")):
            raise FabricError("this line of ibnetdiscover is cut off", Location(file, number, 1))
    if not switches:
        raise FabricError("no switch is in it", Location(file, 1, 1))
    return _graph(_unique(switches), adapters, wires, file)


def _unique(switches: dict[str, str]) -> dict[str, str]:
    """Return names that tell switches apart: two that nobody named get their GUIDs."""
    counts: dict[str, int] = {}
    for name in switches.values():
        counts[name] = counts.get(name, 0) + 1
    return {
        guid: name if counts[name] == 1 else f"{name}-{guid[-8:]}"
        for guid, name in switches.items()
    }


def _graph(
    switches: dict[str, str], adapters: dict[str, str], wires: list[_Wire], file: str
) -> SwitchGraph:
    attachments: list[Attachment] = []
    cables = set()
    unnamed: set[str] = set()
    for wire in wires:
        name = switches[wire.switch]
        if wire.kind == "S" and wire.peer in switches and wire.peer != wire.switch:
            cables.add(cable(name, switches[wire.peer]))
        elif wire.kind == "H" and not is_aggregation(adapters.get(wire.peer, "")):
            host, device = ca_name(adapters.get(wire.peer, ""))
            if wire.port > 1:
                device = f"{device}/{wire.port}"
            if host:
                attachments.append(Attachment(host, name, device, f"{file}:{wire.line}"))
            else:
                unnamed.add(wire.peer)
    notes = (
        f"{len(unnamed)} adapters have no host name in their description, such as GUID"
        f" {min(unnamed)}; rdma-ndd or the distribution's service sets it"
        if unnamed
        else ""
    )
    return SwitchGraph(
        tuple(attachments),
        tuple(sorted(cables, key=lambda item: (item.one, item.other))),
        notes=(notes,) if notes else (),
    )
