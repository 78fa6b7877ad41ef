"""JSON Schemas of what people write and of what --json prints."""

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


def schema_of(name: str) -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12): of job, site, status, check or submit.

    Raises:
        UsageError: no such schema.
    """
    if name == "job":
        from slurmkit.spec.schema import job_schema  # noqa: PLC0415

        return job_schema()
    if name == "site":
        from slurmkit.site.schema import site_schema  # noqa: PLC0415

        return site_schema()
    if name == "status":
        from pydantic import TypeAdapter  # noqa: PLC0415

        from slurmkit.api.status import RunStatus  # noqa: PLC0415

        return _draft(TypeAdapter(RunStatus).json_schema())
    if name in ("check", "submit"):
        return _draft(_CHECK if name == "check" else _SUBMIT)
    raise UsageError(f"no schema {name!r}", hint="choose one of: job, site, status, check, submit")


def _draft(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
