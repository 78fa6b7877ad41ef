"""JSON Schemas of what `topo ... --json` prints, from the annotations of the values themselves."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from slurmkit.record import Record

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def topology_schema(name: str) -> dict[str, Any]:
    """Return the schema of ``topo-show``, ``topo-verify`` or ``topo-plan``."""
    from slurmkit.topology.bandwidth import Pair  # noqa: PLC0415 - loaded for this alone
    from slurmkit.topology.model import Topology  # noqa: PLC0415
    from slurmkit.topology.verify import Difference  # noqa: PLC0415

    if name == "topo-plan":
        return {"type": "array", "description": "One object per rank.", "items": _PLAN}
    if name == "topo-verify":
        return _object(
            "What `slurmkit topo verify --json` prints.",
            {
                "host": {"type": "string"},
                "profile": {"type": "string"},
                "matches": {"type": "boolean"},
                "differences": {"type": "array", "items": schema_of_type(Difference)},
            },
        )
    node = schema_of_type(Topology)
    node["properties"] = {
        "format": {"const": "slurmkit-topology"},
        "version": {"type": "integer"},
        **node["properties"],
        # Only `topo show` has these two.
        "pairs": {"type": "array", "items": schema_of_type(Pair)},
        "costs": {"type": "array", "items": {"type": "string"}},
    }
    node["required"] = ["format", "version", *node["required"]]
    return node


def schema_of_type(kind: Any) -> dict[str, Any]:
    """Return the schema of what ``slurmkit.topology.export_json.plain`` makes of a type."""
    if isinstance(kind, type) and issubclass(kind, Record):
        hints = get_type_hints(kind)
        fields = {name: schema_of_type(hints[name]) for name in kind._fields}
        return _object((kind.__doc__ or "").strip().split("\n")[0], fields)
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of_type(arg) for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is frozenset:  # a list of CPUs such as 0-55,112-167
        return {"type": "string"}
    if origin is tuple:
        return {"type": "array", "items": schema_of_type(args[0])}
    raise TypeError(f"no schema for {kind!r}")


def _object(description: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "required": list(fields),
        "additionalProperties": False,
        "properties": fields,
    }


_TEXTS = {"type": "array", "items": {"type": "string"}}
_GPU = _object(
    "A GPU by its number and its PCI address.",
    {"index": {"type": "integer"}, "pci": {"type": "string"}},
)
_PLAN = _object(
    "Where one rank runs, and what it is told.",
    {
        "local_rank": {"type": "integer"},
        "gpu": {"anyOf": [_GPU, {"type": "null"}]},
        "gpus": {"type": "array", "items": _GPU},
        "numa": {"type": ["integer", "null"]},
        "cpus": {"type": "string", "description": "Such as 0-27,112-139; empty when unbound."},
        "memory": {"enum": ["local", "bind", "interleave", "none"]},
        "memory_nodes": {"type": "array", "items": {"type": "integer"}},
        "nics": _TEXTS,
        "distance": {"type": "string"},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "notes": _TEXTS,
    },
)
