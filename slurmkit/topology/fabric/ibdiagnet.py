"""Read ``ibdiagnet2.lst``: a line per cable, with both ends in braces.

``{ CA Ports:01 SystemGUID:.. NodeGUID:.. PortGUID:.. VenID:.. DevID:.. Rev:.. {node01 mlx5_0}
LID:0005 PN:01 } { SW Ports:41 ... {MF0;leaf-1:MQM9700/U1} LID:0002 PN:14 } PHY=4x LOG=ACT SPD=..``
"""

import re
from typing import NamedTuple

from slurmkit.errors import Location
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import SwitchGraph
from slurmkit.topology.fabric.infiniband import Wire, fabric

_END = (
    r"\{\s*(CA|SW|RTR)\s+Ports:\w+\s.*?NodeGUID:([0-9A-Fa-f]+)\s.*?(?:\{(.*?)\}\s*)?"
    r"LID:\w+\s+PN:([0-9A-Fa-f]+)\s*\}"
)
_LINE = re.compile(rf"\s*{_END}\s*{_END}(.*)")


class _End(NamedTuple):
    kind: str
    guid: str
    description: str
    port: int


def read_lst(text: str, file: str = "") -> SwitchGraph:
    """Return the fabric of an ``ibdiagnet2.lst``.

    Raises:
        FabricError: a line is none of this form, or there is no switch.
    """
    found: dict[str, dict[str, str]] = {"SW": {}, "CA": {}, "RTR": {}}
    wires: list[Wire] = []
    inactive = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise FabricError("this is no line of ibdiagnet2.lst", Location(file, number, 1))
        ends = [
            _End(match[at], match[at + 1].lower(), match[at + 2] or "", int(match[at + 3], 16))
            for at in (1, 5)
        ]
        if "LOG=" in match[9] and "LOG=ACT" not in match[9]:
            inactive += 1
            continue
        for end in ends:
            found[end.kind][end.guid] = end.description
        for one, other in (ends, ends[::-1]):
            if one.kind == "SW":
                wires.append(Wire(one.guid, other.guid, other.port, other.kind == "CA", number))
    if not wires:
        raise FabricError("no cable of a switch is in it", Location(file, 1, 1))
    notes = [f"{inactive} cables are not active and were left out"] if inactive else []
    return fabric(found["SW"], found["CA"], wires, file, notes)
