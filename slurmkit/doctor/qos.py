"""What a NIC does with priorities: asked of NVIDIA's mlnx_qos, else of iproute2's dcb.

Sources: dcb-pfc(8), dcb-app(8) of iproute2; NVIDIA MLNX_EN documentation, "Quality of Service".
"""

import json
import re
from collections.abc import Mapping

from slurmkit.doctor.nics import Netdev
from slurmkit.doctor.programs import Ran, run
from slurmkit.record import Record

_TRUST = re.compile(r"Priority trust state:\s*(\w+)", re.IGNORECASE)
_MAPPED = re.compile(r"prio:(\d+)\s+dscp:([\d,\s]*)")


class Qos(Record):
    """What is known of an interface.

    Attributes:
        pfc: the priorities that are lossless; None when nothing tells.
        trust: dscp or pcp; empty when nothing tells.
        priority_of: priority of each DSCP that is mapped.
    """

    pfc: frozenset[int] | None = None
    trust: str = ""
    priority_of: Mapping[int, int] = {}


def read_qos(dev: Netdev) -> Qos:
    """Return what programs of this host say of an interface; the maker's own knows its NIC best."""
    ran = run(["mlnx_qos", "-i", dev.name])
    vendor = from_mlnx_qos(ran.out) if ran and ran.code == 0 else Qos()
    if vendor.pfc is not None and vendor.trust:
        return vendor
    return from_dcb(
        _json(run(["dcb", "-j", "pfc", "show", "dev", dev.name])),
        _json(run(["dcb", "-j", "app", "show", "dev", dev.name])),
    )


def from_dcb(pfc: object, app: object) -> Qos:
    """Return what ``dcb -j pfc show`` and ``dcb -j app show`` say; either may be None.

    The kernel has no word for trust: a NIC trusts DSCP when its table maps DSCPs (dcb-app(8)).
    """
    lossless: frozenset[int] | None = None
    if isinstance(pfc, dict) and isinstance(pfc.get("prio_pfc"), list):
        lossless = frozenset(at for at, on in enumerate(pfc["prio_pfc"]) if on)
    mapped: dict[int, int] = {}
    if isinstance(app, dict):
        for entry in app.get("dscp_prio", []):
            mapped[_dscp(entry[0])] = int(entry[1])
        return Qos(lossless, "dscp" if mapped else "pcp", mapped)
    return Qos(lossless)


# Names that dcb prints for code points (RFC 2474, 2597, 3246): CS0-CS7, AF11-AF43, EF.
def _dscp(value: object) -> int:
    text = str(value)
    if text.isdigit():
        return int(text)
    if text == "EF":
        return 46
    if text.startswith("CS") and text[2:].isdigit():
        return 8 * int(text[2:])
    if text.startswith("AF") and len(text) == 4 and text[2:].isdigit():
        return 8 * int(text[2]) + 2 * int(text[3])
    return -1


def from_mlnx_qos(text: str) -> Qos:
    """Return what ``mlnx_qos -i IF`` prints."""
    trust = _TRUST.search(text)
    mapped = {
        int(dscp): int(priority)
        for priority, listed in _MAPPED.findall(text)
        for dscp in re.findall(r"\d+", listed)
    }
    return Qos(_pfc_of(text), trust[1].lower() if trust else "", mapped)


def _pfc_of(text: str) -> frozenset[int] | None:
    """Return the priorities of the table below ``PFC configuration:``."""
    _, _, below = text.partition("PFC configuration:")
    rows = {words[0]: words[1:] for line in below.splitlines() if (words := line.split())}
    if "priority" not in rows or "enabled" not in rows:
        return None
    pairs = zip(rows["priority"], rows["enabled"], strict=False)
    return frozenset(int(priority) for priority, on in pairs if on == "1" and priority.isdigit())


def _json(ran: Ran | None) -> object:
    if ran is None or ran.code != 0:
        return None
    try:
        found: object = json.loads(ran.out)
    except ValueError:
        return None
    return found[0] if isinstance(found, list) and found else found
