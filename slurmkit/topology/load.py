"""Read a topology from a file in any format that is understood."""

import json
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.topology.export_json import from_json
from slurmkit.topology.hwloc_xml import from_hwloc_xml
from slurmkit.topology.model import Topology
from slurmkit.topology.nccl_xml import from_nccl_xml
from slurmkit.topology.xmlfile import MAX_BYTES

FORMATS = ("auto", "json", "nccl", "hwloc")


def load_topology(path: Path, file_format: str = "auto") -> Topology:
    """Return the topology of a file: JSON, NCCL topology XML or hwloc XML.

    Args:
        path: the file.
        file_format: one of `FORMATS`; auto looks at the content.

    Raises:
        UsageError: when the file cannot be read or is none of these.
    """
    if file_format not in FORMATS:
        raise UsageError(f"{file_format!r} is no format", hint=f"Formats: {', '.join(FORMATS)}.")
    text = _read(path)
    kind = _detect(text) if file_format == "auto" else file_format
    try:
        if kind == "nccl":
            return from_nccl_xml(text, host=path.stem)
        if kind == "hwloc":
            return from_hwloc_xml(text)
        return from_json(json.loads(text))
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than 16 MiB: not a topology")
    return data.decode("utf-8", "replace")


def _detect(text: str) -> str:
    """Return the format by the first tag, or json."""
    if not text.lstrip("\ufeff \t\r\n").startswith("<"):
        return "json"
    return "nccl" if "<system" in text[:65536] else "hwloc"
