"""Names in node descriptions of InfiniBand, as words that Slurm takes."""

import re

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: topology.yaml(5): a switch's name has 64 characters at most.
_MAX_NAME = 64
#: Descriptions that adapters have until somebody sets a host name.
_UNSET = re.compile(r"^(MT\d+|ConnectX|Mellanox|NVIDIA|InfiniHost|Quantum)", re.IGNORECASE)
_AGGREGATION = re.compile(r"aggregation node", re.IGNORECASE)


def switch_name(description: str, guid: str = "") -> str:
    """Return a switch's name: ``leaf-1`` of ``MF0;leaf-1:MQM9700/U1``, else of its GUID.

    Managed switches describe themselves as ``MF0;HOST:MODEL/UNIT``. A chassis has several units
    behind one name, such as ``MF0;core:CS8500/L03/U1``: those keep their card's name, L03.
    """
    managed = re.fullmatch(r"[^;]*;([^:]+):([^/]*)/?(.*)", description)
    if managed:
        unit = managed[3]
        card = unit.removesuffix("/U1") if unit not in ("", "U1") else ""
        return fit(f"{managed[1]}-{card}" if card else managed[1])
    if not description.strip() or _UNSET.match(description.strip()):
        return f"switch-{guid}" if guid else fit(description)
    return fit(description)


def ca_name(description: str) -> tuple[str, str]:
    """Return host and device of an adapter: ``node01 mlx5_0`` or ``node01 HCA-1``; "" unknown."""
    words = description.split()
    if not words or _UNSET.match(words[0]) or not _HOST.fullmatch(words[0]):
        return "", ""
    return short(words[0]), words[1] if len(words) > 1 else ""


def is_aggregation(description: str) -> bool:
    """Return whether it is a switch's own adapter, for SHARP, and no host."""
    return bool(_AGGREGATION.search(description))


def short(host: str) -> str:
    """Return a host's name without its domain, as Slurm's NodeName mostly is."""
    return host.partition(".")[0]


def fit(name: str) -> str:
    """Return a name of letters, digits, dots, dashes and underscores, as SwitchName may be."""
    return _UNFIT.sub("-", name.strip())[:_MAX_NAME].strip("-") or "switch"


def is_host(name: str) -> bool:
    """Return whether a host may be called that."""
    return bool(_HOST.fullmatch(name))
