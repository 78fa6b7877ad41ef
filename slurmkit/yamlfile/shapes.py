"""What a pydantic model accepts, as plain values that messages, conversion and schema all read."""

from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WORDS = {str: "text", int: "int", float: "float", bool: "bool"}


@dataclass(frozen=True)
class Form:
    """How a value is written, for people and for editors; put it into a type's ``Annotated``.

    Attributes:
        words: what is expected, after "expected": ``a duration such as 4h``.
        pattern: regular expression (ECMA-262) that the text matches as a whole; empty for none.
        minimum: the least number, where a number may stand for the text.
        short: JSON Schema of a short form that a validator of the model turns into the long one.
        single: a list of one may be given as its item.
    """

    words: str = ""
    pattern: str = ""
    minimum: int | None = None
    short: dict[str, Any] | None = field(default=None, hash=False)
    single: bool = False


# Only __init__ is generated: this is read while every command starts.
@dataclass(eq=False, repr=False)
class Shape:
    """What one value may be.

    Attributes:
        kinds: of ``text``, ``int``, ``float``, ``bool``.
        choices: the words allowed, when only these are.
        items: what the items of a list are; None when it may be no list.
        keys: what the keys of a mapping are.
        values: what the values of a mapping with free keys are; None when it has none.
        model: the model, when it is a mapping with fixed keys.
        optional: whether None is a value.
        bounds: of ``ge``, ``gt``, ``le``, ``lt`` and ``min_length``.
    """

    kinds: set[str] = field(default_factory=set)
    choices: tuple[str, ...] = ()
    items: "Shape | None" = None
    keys: "Shape | None" = None
    values: "Shape | None" = None
    model: type[BaseModel] | None = None
    optional: bool = False
    bounds: dict[str, float] = field(default_factory=dict)
    words: str = ""
    pattern: str = ""
    short: dict[str, Any] | None = None
    single: bool = False

    @property
    def is_section(self) -> bool:
        """Whether the value is always a mapping with fixed keys."""
        return self.model is not None and not self.optional

    @property
    def text_only(self) -> bool:
        """Whether a scalar is taken as it is written: 010, 1e-4 and true stay themselves."""
        if self.kinds:
            return self.kinds == {"text"}
        if self.items is not None and self.values is None and self.model is None:
            return self.items.text_only
        return self.model is not None


@cache
def fields_of(model: type[BaseModel]) -> dict[str, Shape]:
    """Return the shape of each field by the name it has in the file."""
    return {name_of(name, info): _of_field(info) for name, info in model.model_fields.items()}


@cache
def shape_of(model: type[BaseModel]) -> Shape:
    """Return the shape of a whole model."""
    return Shape(model=model)


def name_of(name: str, info: FieldInfo) -> str:
    """Return the name that a field has in the file: ``async`` for ``async_``."""
    return info.alias or name


def _of_field(info: FieldInfo) -> Shape:
    shape = Shape()
    _collect(info.annotation, shape)
    _apply(info.metadata, shape)
    return shape


def _of(annotation: Any) -> Shape:
    shape = Shape()
    _collect(annotation, shape)
    return shape


def _collect(annotation: Any, shape: Shape) -> None:
    origin = get_origin(annotation)
    args = get_args(annotation)
    if annotation is NoneType:
        shape.optional = True
    elif annotation in _WORDS:
        shape.kinds.add(_WORDS[annotation])
    elif origin is Annotated:
        _collect(args[0], shape)
        _apply(args[1:], shape)
    elif origin in (Union, UnionType):
        for member in args:
            _collect(member, shape)
    elif origin is Literal:
        shape.kinds.add("text")
        shape.choices += args
    elif origin is list:
        shape.items = _of(args[0])
    elif origin is dict:
        shape.keys, shape.values = _of(args[0]), _of(args[1])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        shape.model = annotation
    else:
        raise TypeError(f"no shape for {annotation!r}")


def _apply(metadata: Any, shape: Shape) -> None:
    for item in metadata:
        if isinstance(item, Form):
            shape.words = item.words or shape.words
            shape.pattern = item.pattern or shape.pattern
            shape.short = item.short or shape.short
            shape.single = item.single or shape.single
            if item.minimum is not None:
                shape.bounds["ge"] = item.minimum
        elif isinstance(item, FieldInfo):
            _apply(item.metadata, shape)
        else:
            for name, kind in (("ge", Ge), ("gt", Gt), ("le", Le), ("lt", Lt)):
                if isinstance(item, kind):
                    shape.bounds[name] = getattr(item, name)
            if isinstance(item, MinLen):
                shape.bounds["min_length"] = item.min_length


def at(shape: Shape, path: tuple[str | int, ...]) -> tuple[Shape, tuple[str | int, ...]]:
    """Follow a path as far as it names parts of the file.

    Returns:
        The shape reached and the parts that led there; what pydantic adds to a path (the
        members of a union) is left out.
    """
    taken: list[str | int] = []
    for part in path:
        below = _below(shape, part)
        if below is None:
            break
        shape = below
        taken.append(part)
    return shape, tuple(taken)


def _below(shape: Shape, part: str | int) -> Shape | None:
    if isinstance(part, int):
        return shape.items
    if shape.model is not None:
        return fields_of(shape.model).get(part)
    return shape.values


def describe(shape: Shape) -> str:
    """Return what is expected, in plain words: ``a whole number of at least 1``."""
    if shape.words:
        return shape.words
    words = []
    if shape.choices:
        words.append(join([str(choice) for choice in shape.choices]))
    elif "text" in shape.kinds:
        words.append("text")
    if "int" in shape.kinds:
        words.append("a whole number" + _range(shape))
    if "float" in shape.kinds:
        words.append("a number" + _range(shape))
    if "bool" in shape.kinds:
        words.append("true or false")
    if shape.items is not None:
        words.append("a list of " + _plural(shape.items))
    if shape.values is not None:
        words.append("a mapping of names to " + _plural(shape.values))
    if shape.model is not None:
        words.append("keys of its own (" + ", ".join(fields_of(shape.model)) + ")")
    return join(words)


def _plural(shape: Shape) -> str:
    if shape.choices:
        return "words out of " + ", ".join(shape.choices)
    if shape.words or shape.model is not None:
        return "entries that are " + describe(shape)
    if shape.items is not None:
        return "lists"
    if shape.values is not None:
        return "mappings"
    return "texts" if shape.kinds == {"text"} else "values"


def _range(shape: Shape) -> str:
    low, high = shape.bounds.get("ge"), shape.bounds.get("le")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" of at least {low:g}"
    if (above := shape.bounds.get("gt")) is not None:
        return f" above {above:g}"
    return f" of at most {high:g}" if high is not None else ""


def join(words: list[str], last: str = "or") -> str:
    """Return ``a, b or c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
