"""Loads job.yaml: what it extends, what the command line sets, and every error with its place."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.errors import InvalidInputError, Location, Problem
from slurmkit.spec.models import JobSpec
from slurmkit.spec.overrides import apply_overrides
from slurmkit.spec.rules import broken_rules
from slurmkit.yamlfile import nodes
from slurmkit.yamlfile.nodes import SourceMap
from slurmkit.yamlfile.reader import read_bytes, read_document
from slurmkit.yamlfile.validate import build

# Files that one job may be put together from; more are a mistake, or files that double each other.
MAX_FILES = 64


@dataclass(frozen=True)
class Job:
    """A job as loaded.

    Attributes:
        spec: what is asked for, with defaults.
        path: the file, absolute; for a job made in Python a name in its folder that need not exist.
        text: the file as given, byte for byte.
        source: places of keys and values.
        files: all files it was put together from, the job's own last.
        warnings: what the user should know though the job can run.
    """

    spec: JobSpec
    path: Path
    text: bytes
    source: SourceMap
    files: tuple[Path, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent

    def resolved_yaml(self) -> str:
        """Return YAML after ``extends``, ``--set`` and defaults; it loads to the same spec."""
        return resolved_yaml(self.spec)


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Job:
    """Return the job of a YAML file.

    Args:
        path: the file.
        overrides: ``KEY=VALUE`` as given to ``--set``, such as ``resources.nodes=4``.

    Raises:
        InvalidInputError: with every problem that could be found.
    """
    shown = os.fspath(path)
    text = _read(shown, shown, None)
    absolute = Path(shown).absolute()
    files: list[Path] = []
    root = _with_bases(read_document(text, shown), absolute, (), files)
    root = apply_overrides(root, overrides)
    spec = build(JobSpec, root)
    source = SourceMap(root)
    return Job(spec, absolute, text, source, tuple(files), _judge(spec, source))


def from_spec(spec: JobSpec, base_dir: str | os.PathLike[str] = ".") -> Job:
    """Return the job of a spec built in Python, held to the same rules as a file.

    Args:
        spec: the job.
        base_dir: the folder that relative paths start from.

    Raises:
        InvalidInputError: a combination in it is impossible.
    """
    source = SourceMap()
    warnings = _judge(spec, source)
    path = Path(base_dir).absolute() / f"{spec.name}.yaml"
    return Job(spec, path, resolved_yaml(spec).encode(), source, (), warnings)


def resolved_yaml(spec: JobSpec) -> str:
    """Return a spec as YAML, complete with defaults; it loads to the same spec."""
    # Rendering alone needs no YAML writer.
    from slurmkit.yamlfile.writer import dump  # noqa: PLC0415

    return dump(spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"extends"}))


def _judge(spec: JobSpec, source: SourceMap) -> tuple[Problem, ...]:
    found = broken_rules(spec, source)
    if any(not problem.warning for problem in found):
        raise InvalidInputError(found)
    return tuple(found)


def _read(path: str, shown: str, where: Location | None) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError:
        message, hint = f"there is no file {shown}", _near_files(Path(path))
    except IsADirectoryError:
        message, hint = f"{shown} is a folder", "Name the YAML file in it."
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message, hint = f"{shown} cannot be read: {reason}", ""
    raise InvalidInputError([Problem(message, where=where, hint=hint, code="no-file")])


def _near_files(path: Path) -> str:
    from slurmkit.yamlfile.problems import nearest  # noqa: PLC0415 - for mistakes only

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"There is no folder {path.parent} either."
    yaml_names = [name for name in names if name.endswith((".yaml", ".yml"))]
    return nearest(path.name, yaml_names) or "`slurmkit init STARTER` writes one."


def _with_bases(
    root: nodes.Mapping, path: Path, chain: tuple[str, ...], files: list[Path]
) -> nodes.Mapping:
    chain = (*chain, os.path.realpath(path))
    merged: nodes.Node | None = None
    for name, where in _extended(root):
        base = path.parent / os.path.expanduser(name)  # noqa: PTH111 - ~nobody stays as it is
        shown = name if Path(name).is_absolute() else os.path.relpath(base)
        text = _read(str(base), shown, where)
        if os.path.realpath(base) in chain:
            names = " -> ".join(Path(item).name for item in (*chain, os.path.realpath(base)))
            raise _extends_error(f"the files extend each other in a circle: {names}", where)
        if len(files) + len(chain) > MAX_FILES:
            raise _extends_error(f"more than {MAX_FILES} files are put together", where)
        tree = _with_bases(read_document(text, shown), base, chain, files)
        merged = tree if merged is None else nodes.merge(merged, tree)
    files.append(path)
    result = root if merged is None else nodes.merge(merged, root)
    assert isinstance(result, nodes.Mapping)
    return result


def _extended(root: nodes.Mapping) -> list[tuple[str, Location]]:
    entry = root.entries.get("extends")
    if entry is None:
        return []
    value = entry.value
    items = value.items if isinstance(value, nodes.Sequence) else (value,)
    named = []
    for item in items:
        if not isinstance(item, nodes.Scalar):
            raise _extends_error("expected the name of a YAML file, or a list of names", item.where)
        if not item.is_null:
            named.append((item.text, item.where))
    return named


def _extends_error(message: str, where: Location) -> InvalidInputError:
    return InvalidInputError([Problem(message, "extends", where, code="bad-extends")])
