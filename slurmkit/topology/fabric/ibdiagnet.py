"""Read ``ibdiagnet2.lst``: a line per cable, with both ends in braces.

``{ CA Ports:01 SystemGUID:.. NodeGUID:.. PortGUID:.. VenID:.. DevID:.. Rev:.. {node01 mlx5_0}
LID:0005 PN:01 } { SW Ports:41 ... {MF0;leaf-1:MQM9700/U1} LID:0002 PN:14 } PHY=4x LOG=ACT SPD=..``
"""

import re

from slurmkit.errors import Location
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import Attachment, Cable, SwitchGraph, cable
from slurmkit.topology.fabric.names import ca_name, is_aggregation, switch_name

_END = (
    r"\{\s*(CA|SW|RTR)\s+Ports:\w+\s.*?NodeGUID:([0-9A-Fa-f]+)\s.*?(?:\{(.*?)\}\s*)?"
    r"LID:\w+\s+PN:\w+\s*\}"
)
_LINE = re.compile(rf"\s*{_END}\s*{_END}(.*)")
_End = tuple[str, str, str]  # kind, GUID, description


def read_lst(text: str, file: str = "") -> SwitchGraph:
    """Return the fabric of an ``ibdiagnet2.lst``.

    Raises:
        FabricError: a line is none of this form, or there is no switch.
    """
    attachments: dict[tuple[str, str, str], Attachment] = {}
    cables: set[Cable] = set()
    inactive = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise FabricError("this is no line of ibdiagnet2.lst", Location(file, number, 1))
        if "LOG=" in match[7] and "LOG=ACT" not in match[7]:
            inactive += 1
            continue
        ends: list[_End] = [
            (match[1], match[2].lower(), match[3] or ""),
            (match[4], match[5].lower(), match[6] or ""),
        ]
        _add(ends, f"{file}:{number}", attachments, cables)
    if not attachments and not cables:
        raise FabricError("no cable of a switch is in it", Location(file, 1, 1))
    notes = (f"{inactive} cables are not active and were left out",) if inactive else ()
    ordered = tuple(sorted(cables, key=lambda item: (item.one, item.other)))
    return SwitchGraph(tuple(attachments.values()), ordered, notes=notes)


def _add(
    ends: list[_End],
    source: str,
    attachments: dict[tuple[str, str, str], Attachment],
    cables: set[Cable],
) -> None:
    switches = [switch_name(text, guid) for kind, guid, text in ends if kind == "SW"]
    adapters = [text for kind, _, text in ends if kind == "CA" and not is_aggregation(text)]
    if len(switches) == 2 and switches[0] != switches[1]:
        cables.add(cable(*switches))
    elif len(switches) == 1 and adapters:
        host, device = ca_name(adapters[0])
        if host:  # each cable is listed from both its ends
            key = (host, switches[0], device)
            attachments.setdefault(key, Attachment(*key, source))
