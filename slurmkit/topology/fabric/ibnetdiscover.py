"""Read what ``ibnetdiscover`` prints.

Form (ibnetdiscover(8), "Topology file format"): a block per switch or adapter, begun by a line
``Switch 65 "S-GUID" # "NAME" ...`` or ``Ca 1 "H-GUID" # "NAME"``, then a line per cable:
``[3] "H-GUID"[1](PORTGUID) # "NAME" lid 5 4xNDR``. ibdiagnet writes the same as
``ibdiagnet2.ibnetdiscover``.
"""

import re

from slurmkit.errors import Location
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import SwitchGraph
from slurmkit.topology.fabric.infiniband import Wire, fabric

_HEAD = re.compile(r'(Switch|Ca|Rt)\s+\d+\s+"([SHR])-([0-9a-fA-F]+)"\s*#\s*"([^"]*)"')
_PORT = re.compile(
    r'\[(\d+)\](?:\[[^\]]*\])*(?:\([0-9a-fA-F]+\))?\s+"([SHR])-([0-9a-fA-F]+)"\s*\[(\d+)\]'
)


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
    wires: list[Wire] = []
    current = ("", "")
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            match = _PORT.match(line)
            if match is None:
                raise FabricError(
                    "this is no cable line of ibnetdiscover", Location(file, number, 1)
                )
            if current[0] == "S":
                peer = match[3].lower()
                wires.append(Wire(current[1], peer, int(match[4]), match[2] == "H", number))
        elif match := _HEAD.match(line):
            kind, guid, name = match[2], match[3].lower(), match[4]
            current = (kind, guid)
            if kind == "S":
                switches[guid] = name
            elif kind == "H":
                adapters[guid] = name
        elif line.startswith(("Switch", "Ca\t", "Ca ")):
            raise FabricError("this line of ibnetdiscover is cut off", Location(file, number, 1))
    if not switches:
        raise FabricError("no switch is in it", Location(file, 1, 1))
    return fabric(switches, adapters, wires, file)
