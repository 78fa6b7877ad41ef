"""Turns a YAML tree into a pydantic model."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from slurmkit.errors import InvalidInputError
from slurmkit.yamlfile.nodes import Mapping, Node, Scalar, Sequence, SourceMap
from slurmkit.yamlfile.plugins import without_plugin_search
from slurmkit.yamlfile.shapes import Shape, fields_of, shape_of

M = TypeVar("M", bound=BaseModel)

_UNTYPED = Shape(kinds={"text"})


def build(model: type[M], root: Mapping) -> M:
    """Return the model that the tree describes.

    Raises:
        InvalidInputError: with every problem found, in the order of the file.
    """
    complete(model)
    try:
        return model.model_validate(plain(root, shape_of(model)))
    except ValidationError as error:
        # Only a file with mistakes pays for what explains them.
        from slurmkit.yamlfile.problems import problems  # noqa: PLC0415

        raise InvalidInputError(problems(error, model, SourceMap(root))) from None


def complete(model: type[BaseModel]) -> None:
    """Build a model's validator, without pydantic's search for plugins."""
    if not model.__pydantic_complete__:
        with without_plugin_search():
            model.model_rebuild()


def plain(node: Node, shape: Shape) -> Any:
    """Return lists, dicts and scalars for pydantic.

    Where the model wants text, the scalar is given as it is written: ``1e-4``, ``010`` and
    ``true`` arrive as they stand. A key of a section without a value counts as not given.
    """
    if isinstance(node, Scalar):
        if shape.text_only:
            return None if node.is_null else node.text
        return node.value()
    if isinstance(node, Sequence):
        below = shape.items or (shape if shape.text_only else _UNTYPED)
        return [plain(item, below) for item in node.items]
    if shape.items is not None and shape.values is None and shape.model is None:
        return plain(node, shape.items)  # a list of one, given as its item
    if shape.model is None:
        below = shape.values or _UNTYPED
        return {name: plain(entry.value, below) for name, entry in node.entries.items()}
    return _section(node, fields_of(shape.model))


def _section(node: Mapping, known: dict[str, Shape]) -> dict[str, Any]:
    values = {
        name: plain(entry.value, known.get(name, _UNTYPED))
        for name, entry in node.entries.items()
        if not (name in known and isinstance(entry.value, Scalar) and entry.value.is_null)
    }
    # An absent section is an empty one. Left to default_factory, each would build a validator of
    # its own.
    absent = (name for name, shape in known.items() if shape.is_section and name not in values)
    return values | {name: {} for name in absent}
