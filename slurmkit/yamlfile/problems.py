"""Turns what pydantic refuses into problems with place, key, what is allowed and what to do."""

import json
import shlex
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from slurmkit.errors import Location, Problem
from slurmkit.yamlfile.nodes import (
    Mapping,
    Node,
    Path,
    Scalar,
    Sequence,
    SourceMap,
    by_place,
    dotted,
)
from slurmkit.yamlfile.shapes import Shape, at, describe, fields_of, join, shape_of


def problems(error: ValidationError, model: type[BaseModel], source: SourceMap) -> list[Problem]:
    """Return one problem for each place that pydantic found wrong, in the order of the file."""
    top = shape_of(model)
    grouped: dict[Path, list[Any]] = {}
    for detail in error.errors(include_url=False):
        grouped.setdefault(_path_of(detail, top), []).append(detail)
    found = [_problem(path, details, top, source) for path, details in grouped.items()]
    return sorted(found, key=by_place)


def _path_of(detail: Any, top: Shape) -> Path:
    loc: Path = detail["loc"]
    path = at(top, loc)[1]
    # The shape does not know the key itself: it is the last part of the path.
    if detail["type"] == "extra_forbidden" and len(path) < len(loc):
        return (*path, loc[len(path)])
    return path


def _problem(path: Path, details: list[Any], top: Shape, source: SourceMap) -> Problem:
    kinds = {detail["type"] for detail in details}
    parent = at(top, path[:-1])[0]
    where, node, found = source.find(path)
    # Only the last part may be missing from the file; parts in between come from short forms.
    shown = found if found[-1:] == path[-1:] or not path else _shown(path, found, source)
    key = dotted(shown)
    if "extra_forbidden" in kinds:
        return _unknown_key(shown, parent, top, source)
    if "missing" in kinds:
        return _missing_key(path, where, top)
    if details[0]["loc"][-1:] == ("[key]",):
        return _bad_name(path, key, parent, details[0], source)
    shape = at(top, path)[0]
    own = next((d for d in details if d["type"] in ("value_error", "assertion_error")), None)
    if own is not None:
        return Problem(_reason(own), key, where, code="not-allowed")
    got = _got(node, shape) if node is not None else _got_value(details[0]["input"])
    if isinstance(node, Scalar) and node.is_null:
        return Problem("has no value", key, where, _null_hint(shape), code="wrong-type")
    code = "not-allowed" if _has_right_type(kinds) else "wrong-type"
    if "too_short" in kinds:
        return Problem("must not be empty", key, where, f"Give {describe(shape)}.", code)
    return Problem(
        f"expected {describe(shape)}, got {got}", key, where, _hint(shape, node), code=code
    )


def _shown(path: Path, found: Path, source: SourceMap) -> Path:
    node = source.node(found)
    return (*found, path[-1]) if isinstance(node, Mapping) else found


def _has_right_type(kinds: set[str]) -> bool:
    return bool(
        kinds
        & {
            "literal_error",
            "too_short",
            "greater_than",
            "greater_than_equal",
            "less_than",
            "less_than_equal",
            "finite_number",
        }
    )


def _reason(detail: Any) -> str:
    error = detail.get("ctx", {}).get("error")
    return str(error) if error is not None else str(detail["msg"])


def _got(node: Node, shape: Shape) -> str:
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    if not isinstance(node.value(), str):
        return text
    return repr(text) if node.plain or "text" in shape.kinds else f"the text {text!r}"


def _got_value(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _null_hint(shape: Shape) -> str:
    if "text" in shape.kinds and not shape.choices:
        return 'Write "" for an empty text, or "null" or "~" in quotes for these words.'
    return f"Give {describe(shape)}, or delete the line."


def _hint(shape: Shape, node: Node | None) -> str:
    if isinstance(node, Mapping) and node.flow and len(node.entries) == 1 and shape.text_only:
        entry = next(iter(node.entries.values()))
        if isinstance(entry.value, Scalar) and entry.value.is_null:
            return f'Put it in quotes: "{{{entry.key.text}}}".'
    if not isinstance(node, Scalar):
        return ""
    bare = Scalar(node.text, True, node.where)
    if "bool" in shape.kinds and node.text.lower() in ("yes", "no", "on", "off", "y", "n"):
        return f"Write {'true' if node.text.lower() in ('yes', 'on', 'y') else 'false'}."
    if not node.plain and shape.kinds & {"int", "float", "bool"}:
        return "" if isinstance(bare.value(), str) else "Remove the quotes."
    if "int" in shape.kinds and node.text.lstrip("0").isdecimal():
        return f"Write {node.text.lstrip('0')}, without leading zeros."
    if shape.items is not None and not shape.items.text_only:
        return ""
    if shape.items is not None and not shape.kinds:
        return _list_hint(node)
    return nearest(node.text, list(shape.choices))


def _list_hint(node: Scalar) -> str:
    try:
        words = shlex.split(node.text)
    except ValueError:
        return "Write a list: [first, second]."
    return f"Write a list: [{', '.join(_flow_word(word, json.dumps(word)) for word in words)}]."


def _flow_word(word: str, quoted: str) -> str:
    safe = word.replace("-", "").replace("_", "").replace(".", "").replace("/", "").isalnum()
    return word if safe else quoted


def _unknown_key(path: Path, parent: Shape, top: Shape, source: SourceMap) -> Problem:
    name, key = str(path[-1]), dotted(path)
    section = dotted(path[:-1])
    allowed = list(fields_of(parent.model)) if parent.model else []
    hint = nearest(name, allowed)
    if not hint:
        homes = [home for home in _sections_with(name, top) if home != section]
        if homes:
            places = join([f"under {home}" if home else "at the top" for home in homes[:3]])
            hint = f"{name!r} belongs {places}."
        else:
            hint = f"Allowed here: {', '.join(allowed)}."
    where = source.locate_key(key)
    place = f" in {section}" if section else ""
    return Problem(f"unknown key {name!r}{place}", key, where, hint, code="unknown-key")


def _bad_name(path: Path, key: str, parent: Shape, detail: Any, source: SourceMap) -> Problem:
    name, where = str(path[-1]), source.locate_key(key)
    if parent.keys is None or not parent.keys.choices:
        return Problem(_reason(detail), key, where, code="bad-name")
    allowed = list(parent.keys.choices)
    hint = nearest(name, allowed)
    return Problem(f"expected {join(allowed)}, got {name!r}", key, where, hint, code="bad-name")


def _missing_key(path: Path, where: Location | None, top: Shape) -> Problem:
    hint = f"Give {describe(at(top, path)[0])}."
    return Problem(f"{path[-1]!r} is missing", dotted(path), where, hint, code="missing-key")


def nearest(name: str, allowed: list[str]) -> str:
    """Return a question that names the most similar word; empty when none is similar."""
    lowered = {word.lower(): word for word in allowed}
    matches = get_close_matches(name.lower().replace("-", "_"), list(lowered), n=1, cutoff=0.6)
    return f"Did you mean {lowered[matches[0]]!r}?" if matches else ""


def _sections_with(name: str, shape: Shape, path: Path = ()) -> Iterator[str]:
    if shape.model is None:
        return
    for key, below in fields_of(shape.model).items():
        if key == name:
            yield dotted(path)
        yield from _sections_with(name, below, (*path, key))
