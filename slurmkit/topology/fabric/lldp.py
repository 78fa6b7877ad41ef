"""Read what ``lldpctl -f json`` or ``-f json0`` says on a host: which switch each port leads to.

json0 of lldpd has a list for everything, json mappings where there is one of a kind (lldpctl(8)).
LLDP does not tell the name of the host that asked, so the file's name does: ``node01.json``.
"""

import json
from pathlib import PurePath
from typing import Any

from slurmkit.errors import Location
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import Attachment, SwitchGraph
from slurmkit.topology.fabric.names import fit, is_host, short


def read_lldp(text: str, file: str = "", host: str = "") -> SwitchGraph:
    """Return a host's cables.

    Args:
        text: JSON of lldpctl.
        file: its name, for messages, and for the host's name where ``host`` is empty.
        host: name of the host.

    Raises:
        FabricError: it is no JSON of lldpctl.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise FabricError(f"no JSON: {error}", Location(file, 1, 1)) from None
    lldp = data.get("lldp") if isinstance(data, dict) else None
    if lldp is None:
        raise FabricError(
            "no 'lldp' is in it", Location(file, 1, 1), hint="write it with: lldpctl -f json0"
        )
    host = host or short(PurePath(file).name.removesuffix(".json"))
    if not is_host(host):
        raise FabricError(
            f"{host!r} is no host name", Location(file, 1, 1), hint="name each file HOST.json"
        )
    attachments = {}
    for part in _listed(lldp):
        for device, interface in _interfaces(part.get("interface")):
            for name in _switches(interface):
                key = (host, fit(short(name)), device)
                attachments[key] = Attachment(*key, file)
    return SwitchGraph(tuple(attachments.values()))


def _listed(value: Any) -> list[dict[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, dict)]


def _interfaces(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return name and content of each interface, in the forms of json0 and json."""
    found: list[tuple[str, dict[str, Any]]] = []
    for item in _listed(value):
        if isinstance(item.get("name"), str):
            found.append((item["name"], item))
        else:
            found += [(name, entry) for name, one in item.items() for entry in _listed(one)]
    return found


def _switches(interface: dict[str, Any]) -> list[str]:
    """Return the system names of the chassis at the other end."""
    names: list[str] = []
    for chassis in _listed(interface.get("chassis")):
        name = chassis.get("name")
        if isinstance(name, list):
            names += [str(item["value"]) for item in _listed(name) if "value" in item]
        elif isinstance(name, str):
            names.append(name)
        elif not {"id", "descr", "capability", "mgmt-ip"} & chassis.keys():
            names += [str(key) for key, entry in chassis.items() if isinstance(entry, dict)]
    return [name for name in names if name]
