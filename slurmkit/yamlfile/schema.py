"""JSON Schema (draft 2020-12) of a model: the forms that the loader takes, for editors."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from slurmkit.yamlfile.nodes import dotted
from slurmkit.yamlfile.shapes import Shape, describe, fields_of, name_of

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
#: What arrives as text whatever it looks like: 010, 1e-4 and true stay as they are written.
_TEXT = ["string", "number", "boolean"]
_TYPES = {"text": "string", "int": "integer", "float": "number", "bool": "boolean"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}

Schema = dict[str, Any]
_Path = tuple[str, ...]


def schema_of(model: type[BaseModel], title: str, examples: Mapping[str, object]) -> Schema:
    """Return the JSON Schema of a file.

    Args:
        model: what the file holds.
        title: name of the file, for editors.
        examples: an example value by dotted key.
    """
    builder = _Builder(examples)
    top = builder.section(model, ())
    definitions = dict(sorted(builder.definitions.items()))
    return {"$schema": _DRAFT, "title": title, **top, "$defs": definitions}


class _Builder:
    """Walks the models; every section becomes one definition."""

    def __init__(self, examples: Mapping[str, object]) -> None:
        self.definitions: dict[str, Schema] = {}
        self._examples = examples

    def section(self, model: type[BaseModel], path: _Path) -> Schema:
        """Return the schema of a mapping with fixed keys."""
        shapes = fields_of(model)
        fields = {name_of(name, info): info for name, info in model.model_fields.items()}
        required = [key for key, info in fields.items() if info.is_required()]
        schema: Schema = {
            "type": "object",
            "description": (model.__doc__ or "").strip().split("\n")[0],
            "properties": {
                key: self._field(info, shapes[key], (*path, key)) for key, info in fields.items()
            },
            "additionalProperties": False,
        }
        return {**schema, "required": required} if required else schema

    def _field(self, info: FieldInfo, shape: Shape, path: _Path) -> Schema:
        forms = self._forms(shape, path)
        if not info.is_required():
            forms.append({"type": "null"})  # a key without a value counts as not given
        schema: Schema = {"description": info.description or "", **_any(forms)}
        if not info.is_required() and info.default is not None and info.default_factory is None:
            schema["default"] = info.default
        if (key := dotted(path)) in self._examples:
            schema["examples"] = [self._examples[key]]
        return schema

    def _forms(self, shape: Shape, path: _Path) -> list[Schema]:
        """Return every form that one value may have."""
        forms = [_scalar(shape)] if shape.kinds else []
        if shape.items is not None:
            item = _any(self._forms(shape.items, path))
            forms.append({"type": "array", "items": item, **_least(shape, "minItems")})
            if shape.single:
                forms.append(item)
        if shape.values is not None:
            values = _any(self._forms(shape.values, (*path, "NAME")))
            names = _names(shape.keys) if shape.keys is not None else {}
            least = _least(shape, "minProperties")
            forms.append({"type": "object", "additionalProperties": values, **names, **least})
        if shape.model is not None:
            name = shape.model.__name__
            if name not in self.definitions:
                self.definitions[name] = {}  # keeps a section that holds itself from looping
                self.definitions[name] = self.section(shape.model, path)
            forms.append({"$ref": f"#/$defs/{name}"})
        if shape.short is not None:
            forms.append(shape.short)
        return forms


def _scalar(shape: Shape) -> Schema:
    if shape.choices:
        return {"enum": list(shape.choices)}
    if shape.kinds == {"text"}:
        schema: Schema = {"type": _TEXT}
    else:
        types = [word for kind, word in _TYPES.items() if kind in shape.kinds]
        schema = {"type": types[0] if len(types) == 1 else types}
    bounds = {word: shape.bounds[name] for name, word in _BOUNDS.items() if name in shape.bounds}
    schema.update(bounds)
    if shape.pattern:
        schema["pattern"] = f"^(?:{shape.pattern})$"
    if shape.words:
        schema["errorMessage"] = f"expected {describe(shape)}"
    return schema


def _names(keys: Shape) -> Schema:
    if keys.choices:
        return {"propertyNames": {"enum": list(keys.choices)}}
    return {"propertyNames": {"pattern": f"^(?:{keys.pattern})$"}} if keys.pattern else {}


def _least(shape: Shape, word: str) -> Schema:
    return {word: int(shape.bounds["min_length"])} if "min_length" in shape.bounds else {}


def _any(forms: list[Schema]) -> Schema:
    return dict(forms[0]) if len(forms) == 1 else {"anyOf": forms}
