"""JSON Schemas of what people write and of what --json prints."""

from importlib import import_module
from typing import Any

from slurmkit.errors import UsageError

_PROBLEM = {
    "type": "object",
    "description": "One thing that is wrong or odd.",
    "required": ["code", "key", "message", "hint", "severity", "file", "line", "column"],
    "additionalProperties": False,
    "properties": {
        "code": {"type": "string", "description": "Short stable name, such as unknown-key."},
        "key": {"type": "string", "description": "Dotted key, such as resources.nodes."},
        "message": {"type": "string"},
        "hint": {"type": "string"},
        "severity": {"enum": ["error", "warning"]},
        "file": {"type": ["string", "null"]},
        "line": {"type": ["integer", "null"], "minimum": 1},
        "column": {"type": ["integer", "null"], "minimum": 1},
    },
}
_CHECK: dict[str, Any] = {
    "type": "object",
    "description": "What `slurmkit check --json` prints, and any command with --json that fails.",
    "required": ["ok", "problems"],
    "properties": {"ok": {"type": "boolean"}, "problems": {"type": "array", "items": _PROBLEM}},
}
_HEALTH: dict[str, Any] = {
    "type": "object",
    "description": "What `slurmkit health check --json` prints.",
    "required": ["host", "verdict", "checks"],
    "properties": {
        "host": {"type": "string", "description": "The node."},
        "verdict": {"enum": ["pass", "warn", "fail"], "description": "The worst of all."},
        "checks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["check", "verdict", "detail", "action"],
                "properties": {
                    "check": {"type": "string", "description": "Id of the check."},
                    "verdict": {"enum": ["pass", "warn", "fail", "skipped"]},
                    "detail": {"type": "string", "description": "What was seen."},
                    "action": {
                        "enum": ["note", "refuse", "drain", "evict"],
                        "description": "What follows when it fails.",
                    },
                },
            },
        },
    },
}
_SITE_CHECK: dict[str, Any] = {
    "type": "object",
    "description": "What `slurmkit site check --json` prints.",
    "required": ["ok", "release", "booted", "notes", "problems"],
    "properties": {
        "ok": {"type": "boolean", "description": "Whether there is nothing but warnings."},
        "release": {"type": "string", "description": "Slurm that the files were read for."},
        "booted": {
            "type": ["string", "null"],
            "description": "Slurm that was started on them; null where none was.",
        },
        "notes": {"type": "array", "items": {"type": "string"}},
        "problems": {"type": "array", "items": _PROBLEM},
    },
}
_SUBMIT = {
    "type": "array",
    "description": "What `slurmkit submit --json` prints: one object per job.",
    "items": {
        "type": "object",
        "required": ["name", "run_id", "job_id", "cluster", "backend", "run_dir"],
        "additionalProperties": False,
        "properties": {
            name: {"type": "string"}
            for name in ("name", "run_id", "job_id", "cluster", "backend", "run_dir")
        },
    },
}


# What commands print that are dataclasses: module and class, and whether it is a list of them.
_VALUES = {
    "status": ("slurmkit.api.status", "RunStatus", False),
    "run": ("slurmkit.api.local", "LocalRun", False),
    "run-clean": ("slurmkit.api.hosts", "CleanedRun", True),
    "report": ("slurmkit.observe.report", "RunReport", False),
    "explain": ("slurmkit.observe.story", "Story", False),
    "doctor": ("slurmkit.doctor.report", "DoctorReport", False),
    "bench": ("slurmkit.bench.values", "BenchResult", False),
    "mpi": ("slurmkit.api.mpi", "MpiAnswer", False),
    "ckpt-list": ("slurmkit.api.checkpoints", "CheckpointList", True),
    "ckpt-prune": ("slurmkit.api.checkpoints", "PrunedCheckpoints", True),
    "health-drains": ("slurmkit.api.health", "DrainedNode", True),
    "site-generate": ("slurmkit.site.generation", "Generation", False),
    "site-log": ("slurmkit.site.deploy.audit", "Entry", True),
    "site-tiers": ("slurmkit.api.tiers", "TiersReport", False),
    "site-survey": ("slurmkit.api.survey", "SurveyReport", False),
    "site-topology": ("slurmkit.api.survey", "FabricReport", False),
    "elastic-report": ("slurmkit.elastic.depth", "Depth", False),
    "ckpt-commit": ("slurmkit.api.checkpoints", "CommittedCheckpoint", False),
}
_TOPOLOGY = ("topo-show", "topo-verify", "topo-plan")
#: All names that ``schema_of`` knows.
_WRITTEN = ("ckpt-verify", "health-check", "site-check")
NAMES = ("job", "site", "hosts", "check", "submit", *_VALUES, *_WRITTEN, *_TOPOLOGY)


def schema_of(name: str) -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12) by one of NAMES.

    Raises:
        UsageError: no such schema.
    """
    if name == "job":
        from slurmkit.spec.schema import job_schema  # noqa: PLC0415

        return job_schema()
    if name == "site":
        from slurmkit.site.schema import site_schema  # noqa: PLC0415

        return site_schema()
    if name == "hosts":
        from slurmkit.hosts.reference import hosts_schema  # noqa: PLC0415

        return hosts_schema()
    if name in ("check", "submit"):
        return _draft(_CHECK if name == "check" else _SUBMIT)
    if name in _VALUES:
        return _draft(_of_value(*_VALUES[name]))
    if name in ("health-check", "site-check"):
        return _draft(_HEALTH if name == "health-check" else _SITE_CHECK)
    if name == "ckpt-verify":
        verdicts = _of_value("slurmkit.api.checkpoints", "CheckpointVerdict", True)
        return _draft(_verified(verdicts))
    if name in _TOPOLOGY:
        from slurmkit.api.schemas_topology import topology_schema  # noqa: PLC0415

        return _draft(topology_schema(name))
    raise UsageError(f"no schema {name!r}", hint=f"choose one of: {', '.join(NAMES)}")


def _of_value(module: str, name: str, is_list: bool) -> dict[str, Any]:
    from pydantic import TypeAdapter  # noqa: PLC0415

    value = getattr(import_module(module), name)
    schema = TypeAdapter(value).json_schema(mode="serialization")
    if not is_list:
        return schema
    definitions = schema.pop("$defs", {})
    return {"$defs": {**definitions, name: schema}, "type": "array", "items": _refer(name)}


def _refer(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _verified(verdicts: dict[str, Any]) -> dict[str, Any]:
    definitions = verdicts.pop("$defs")
    return {
        "$defs": definitions,
        "type": "object",
        "description": "Whether all are whole, and each of them.",
        "required": ["ok", "checkpoints"],
        "properties": {"ok": {"type": "boolean"}, "checkpoints": verdicts},
    }


def _draft(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
