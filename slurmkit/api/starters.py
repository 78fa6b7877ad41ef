"""`slurmkit init`: copies of runnable starters."""

import json
import re
import shutil
from pathlib import Path

from slurmkit.errors import UsageError
from slurmkit.resources import shipped_dir

_SUMMARY = re.compile(r"^# (?!yaml-language-server)(.+)$", re.MULTILINE)
_LEAVE_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def list_starters() -> list[tuple[str, str]]:
    """Return (name, one-line summary) of each starter; the summary is its YAML's first comment."""
    root = shipped_dir("templates") / "starters"
    return [
        (path.stem, match[1] if (match := _SUMMARY.search(path.read_text("utf-8"))) else "")
        for path in sorted(root.glob("*/*.yaml"))
        if path.stem == path.parent.name
    ]


def copy_starter(name: str, target: Path, *, overwrite: bool = False) -> list[Path]:
    """Copy a starter's files and the JSON Schema that its YAML names; return what was written.

    Raises:
        UsageError: no such starter, or a file is in the way and ``overwrite`` is False. Nothing
            has been written then.
    """
    from slurmkit.spec.schema import job_schema  # noqa: PLC0415 (pydantic)

    source = shipped_dir("templates") / "starters" / name
    names = [known for known, _ in list_starters()]
    if name not in names:
        raise UsageError(f"no starter {name!r}", hint=f"choose one of: {', '.join(names)}")
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    files = [path for path in files if not _left_out(path.relative_to(source))]
    destinations = [target / path.relative_to(source) for path in files]
    schema = target / "job.schema.json"
    in_the_way = [path for path in destinations if path.exists()]
    if in_the_way and not overwrite:
        raise UsageError(
            f"{', '.join(map(str, in_the_way))} exist already; nothing was written",
            hint="give another folder, or --force to overwrite",
        )
    for path, destination in zip(files, destinations, strict=True):
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, destination)
    schema.write_text(json.dumps(job_schema(), indent=2) + "\n", encoding="utf-8")
    return [*destinations, schema]


def _left_out(path: Path) -> bool:
    return bool(_LEAVE_OUT("", list(path.parts)))
