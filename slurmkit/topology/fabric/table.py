"""Read a table of cables that people write: CSV with a header line, or a YAML list of the same.

Columns, in any order: ``node`` (a host list), ``switch`` (one, or a host list of one per rail),
``rail`` or ``port`` (a word), ``block`` (the NVLink domain), and ``uplink``, the switches that
``switch`` has cables to (a host list; such rows need no node). Lines with # in front are comments.
"""

import csv
from collections.abc import Iterable, Iterator

from slurmkit import hostlist
from slurmkit.errors import InvalidInputError, Location
from slurmkit.topology.fabric.errors import FabricError
from slurmkit.topology.fabric.graph import Attachment, Cable, SwitchGraph, cable
from slurmkit.topology.fabric.names import fit
from slurmkit.yamlfile import nodes
from slurmkit.yamlfile.reader import read_document

_COLUMNS = ("node", "switch", "rail", "port", "block", "uplink")
_OTHER_WORDS = {
    "nodes": "node",
    "host": "node",
    "switches": "switch",
    "leaf": "switch",
    "domain": "block",
    "nvlink_domain": "block",
    "spine": "uplink",
    "uplinks": "uplink",
    "device": "port",
}
_Row = tuple[Location, dict[str, str]]


def read_csv(text: str, file: str = "") -> SwitchGraph:
    """Return the fabric of a table with commas, semicolons or tabs between its columns.

    Raises:
        FabricError: a column or a value makes no sense; the message names the line.
    """
    return _graph(_csv_rows(text, file), file)


def read_yaml(text: str, file: str = "") -> SwitchGraph:
    """Return the fabric of a YAML file with a list ``links:`` of mappings with the same columns.

    Raises:
        FabricError: as for read_csv.
    """
    return _graph(_yaml_rows(text, file), file)


def _csv_rows(text: str, file: str) -> Iterator[_Row]:
    lines = [
        (Location(file, number, 1), line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise FabricError("the table is empty", Location(file, 1, 1))
    where, head = lines[0]
    separator = ";" if ";" in head else "\t" if "\t" in head else ","
    columns = [_column(cell, where) for cell in next(csv.reader([head], delimiter=separator))]
    for where, line in lines[1:]:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
        if len(cells) > len(columns):
            raise FabricError(f"{len(cells)} cells under {len(columns)} columns", where)
        yield where, dict(zip(columns, cells, strict=False))


def _yaml_rows(text: str, file: str) -> Iterator[_Row]:
    try:
        document = read_document(text.encode(), file)
    except InvalidInputError as error:
        raise FabricError(error.message) from None
    links = document.entries.get("links")
    if links is None or not isinstance(links.value, nodes.Sequence):
        raise FabricError("no list 'links' is in it", document.where)
    for item in links.value.items:
        if not isinstance(item, nodes.Mapping):
            raise FabricError("expected a mapping such as {node: n1, switch: leaf1}", item.where)
        row = {}
        for entry in item.entries.values():
            row[_column(entry.key.text, entry.key.where)] = " ".join(_texts(entry.value))
        yield item.where, row


def _texts(value: nodes.Node) -> list[str]:
    if isinstance(value, nodes.Scalar):
        return [value.text]
    if isinstance(value, nodes.Mapping):
        raise FabricError("expected a text or a list", value.where)
    return [text for item in value.items for text in _texts(item)]


def _column(cell: str, where: Location) -> str:
    name = cell.strip().lower().replace(" ", "_").replace("-", "_")
    name = _OTHER_WORDS.get(name, name)
    if name not in _COLUMNS:
        raise FabricError(
            f"there is no column {cell.strip()!r}", where, hint=f"columns: {', '.join(_COLUMNS)}"
        )
    return name


def _graph(rows: Iterable[_Row], file: str) -> SwitchGraph:
    attachments: dict[tuple[str, str, str], Attachment] = {}
    cables: dict[Cable, None] = {}
    blocks: dict[str, dict[str, None]] = {}
    for where, row in rows:
        hosts = _hosts(row.get("node", ""), where)
        switches = [fit(name) for name in _hosts(row.get("switch", ""), where)]
        if not switches and not row.get("block"):
            raise FabricError("neither a switch nor a block is named", where)
        uplinks = [fit(name) for name in _hosts(row.get("uplink", ""), where)]
        for index, switch in enumerate(switches):
            rail = row.get("rail") or row.get("port") or (f"rail{index}" if switches[1:] else "")
            for host in hosts:
                key = (host, switch, rail)
                attachments.setdefault(key, Attachment(*key, f"{file}:{where.line}"))
            cables.update(dict.fromkeys(cable(switch, above) for above in uplinks))
        if row.get("block"):
            blocks.setdefault(fit(row["block"]), {}).update(dict.fromkeys(hosts))
    return SwitchGraph(
        tuple(attachments.values()),
        tuple(cables),
        tuple((name, tuple(hosts)) for name, hosts in blocks.items()),
    )


def _hosts(text: str, where: Location) -> list[str]:
    try:
        return hostlist.expand(text)
    except hostlist.HostlistError as error:
        raise FabricError(error.message, where, hint=error.hint) from None
