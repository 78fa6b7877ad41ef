"""The topology as JSON, and back: every field, CPU sets as lists such as ``0-55,112-167``."""

from typing import Any, TypeVar

from slurmkit.errors import UsageError
from slurmkit.record import Record
from slurmkit.topology.cpuset import format_cpulist, parse_cpulist
from slurmkit.topology.model import (
    Bridge,
    Gpu,
    Link,
    MigDevice,
    Nic,
    NumaNode,
    NvLinkPeer,
    Port,
    Topology,
)

T = TypeVar("T", bound=Record)

FORMAT = "slurmkit-topology"
VERSION = 1


def to_json(topology: Topology) -> dict[str, Any]:
    """Return the topology as plain values for `json.dumps`."""
    return {"format": FORMAT, "version": VERSION, **plain(topology)}


def plain(value: Any) -> Any:
    """Return any value of the model as JSON has it."""
    if isinstance(value, Record):
        return {name: plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, frozenset):
        return format_cpulist(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def from_json(data: object) -> Topology:
    """Return the topology of `to_json`'s values.

    Raises:
        UsageError: when the values are not of this format, naming the key.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(
            f"this JSON is not a topology: its format is not {FORMAT!r}",
            hint="slurmkit topo export --format json writes one.",
        )
    if data.get("version") != VERSION:
        raise UsageError(f"topology version {data.get('version')!r} is not known, {VERSION} is")
    values = {name: data[name] for name in Topology._fields if name in data}
    try:
        return _build(values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(
            f"the topology of host {data.get('host')!r} is malformed: {error}"
        ) from error


def _build(values: dict[str, Any]) -> Topology:
    known = dict(values)
    known["cpus_online"] = parse_cpulist(values["cpus_online"])
    known["smt"] = tuple(tuple(int(cpu) for cpu in group) for group in values["smt"])
    if not all(known["smt"]):
        raise ValueError("smt holds a core without CPUs")
    known["numa"] = tuple(_numa(item) for item in values["numa"])
    known["gpus"] = tuple(_gpu(item) for item in values.get("gpus", ()))
    known["nics"] = tuple(_nic(item) for item in values.get("nics", ()))
    known["bridges"] = tuple(
        _make(Bridge, {**item, "link": _make(Link, item.get("link", {}))})
        for item in values.get("bridges", ())
    )
    for name in ("notes", "unknown", "synthetic"):
        known[name] = tuple(str(item) for item in values.get(name, ()))
    return _make(Topology, known)


def _make(kind: type[T], values: dict[str, Any]) -> T:
    """Return a record after checking the fields whose type is a plain one."""
    for name, value in values.items():
        annotation: Any = kind.__annotations__.get(name)
        if annotation is None or hasattr(annotation, "__origin__"):
            continue
        wanted = annotation | int if annotation == float | None else annotation
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise TypeError(f"{kind.__name__}.{name} is {value!r}")
    return kind(**values)


def _numa(item: dict[str, Any]) -> NumaNode:
    distances = tuple(int(value) for value in item.get("distances", ()))
    return _make(NumaNode, {**item, "cpus": parse_cpulist(item["cpus"]), "distances": distances})


def _gpu(item: dict[str, Any]) -> Gpu:
    mig = tuple(_make(MigDevice, entry) for entry in item.get("mig", ()))
    peers = tuple(_make(NvLinkPeer, entry) for entry in item.get("nvlink_peers", ()))
    return _make(Gpu, {**_device(item), "mig": mig, "nvlink_peers": peers})


def _nic(item: dict[str, Any]) -> Nic:
    ports = tuple(
        _make(Port, {**port, "gids": _texts(port.get("gids", ()))})
        for port in item.get("ports", ())
    )
    netdevs = _texts(item.get("netdevs", ()))
    return _make(Nic, {**_device(item), "ports": ports, "netdevs": netdevs})


def _device(item: dict[str, Any]) -> dict[str, Any]:
    link = _make(Link, item.get("link", {}))
    return {**item, "path": _texts(item.get("path", ())), "link": link}


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
