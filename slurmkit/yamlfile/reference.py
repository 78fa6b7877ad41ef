"""The reference page of a file in Markdown, from its model: nothing in it can be out of date."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from slurmkit.yamlfile.nodes import dotted
from slurmkit.yamlfile.shapes import Shape, describe, fields_of, join, name_of
from slurmkit.yamlfile.writer import dump

_Path = tuple[str, ...]


class Key(NamedTuple):
    """One key of the file.

    Attributes:
        key: dotted; NAME stands for a name of the user's choice, list items have no number.
        type: what its value may be, in words.
        default: what holds without it; empty for a section.
        description: what it means.
    """

    key: str
    type: str
    default: str
    description: str


def markdown(model: type[BaseModel], examples: Mapping[str, object]) -> str:
    """Return one heading and table for the top of the file and each section, with examples.

    Args:
        model: what the file holds.
        examples: an example value by dotted key.
    """
    return "\n".join(_section(model, (), examples)).rstrip() + "\n"


def keys_of(model: type[BaseModel], path: _Path = ()) -> Iterator[Key]:
    """Return every key of the file, sections before what they hold."""
    for key, info, shape in _fields(model):
        yield _key(info, shape, (*path, key))
        if (below := _below(shape, (*path, key))) is not None:
            yield from keys_of(*below)


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, Shape]]:
    shapes = fields_of(model)
    for name, info in model.model_fields.items():
        key = name_of(name, info)
        yield key, info, shapes[key]


def _below(shape: Shape, path: _Path) -> tuple[type[BaseModel], _Path] | None:
    """Return the model that a key holds, itself, as list items or under names, and its path."""
    if shape.values is not None and shape.values.model is not None:
        return shape.values.model, (*path, "NAME")
    if shape.items is not None and shape.items.model is not None:
        return shape.items.model, path
    return (shape.model, path) if shape.model is not None else None


def _section(model: type[BaseModel], path: _Path, examples: Mapping[str, object]) -> list[str]:
    lines = []
    if path:
        summary = (model.__doc__ or "").strip().split("\n")[0]
        lines += [f"## `{dotted(path)}`", "", summary, ""]
        keys = [part for part in path if part != "NAME"]
        if (example := examples.get(dotted(keys))) is not None:
            for part in reversed(keys):
                example = {part: example}
            lines += ["```yaml", dump(example).rstrip(), "```", ""]
    lines += ["| Key | Value | Default | Meaning | Example |", "|---|---|---|---|---|"]
    below = []
    for key, info, shape in _fields(model):
        full = (*path, key)
        row = _key(info, shape, full)
        example = examples.get(row.key)
        cells = (f"`{key}`", row.type, row.default, row.description, _code(example))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        if (held := _below(shape, full)) is not None:
            below += _section(*held, examples)
    return [*lines, "", *below]


def _key(info: FieldInfo, shape: Shape, path: _Path) -> Key:
    return Key(dotted(path), _words(shape, path), _default(info), info.description or "")


def _words(shape: Shape, path: _Path) -> str:
    section = dotted(path)
    if shape.model is not None:
        link = f"[section](#{_anchor(section)})"
        return f"{link}, or its short form" if shape.short is not None else link
    held = _below(shape, path)
    if held is not None:
        kind = "names, each a" if shape.values is not None else "list of"
        return f"{kind} [section](#{_anchor(dotted(held[1]))})"
    words = join([f"`{choice}`" for choice in shape.choices]) or describe(shape)
    return f"{words}; one may stand without the list" if shape.single else words


def _anchor(section: str) -> str:
    return section.replace(".", "").lower()


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    if info.default_factory is not None or info.default is None or info.default in ([], {}, ""):
        return ""
    return _code(info.default)


def _code(value: object) -> str:
    return "" if value is None else f"`{_flow(value)}`"


def _flow(value: object) -> str:
    """Return YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return dump(value).strip()
