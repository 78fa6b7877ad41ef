"""``--set KEY=VALUE``: puts values of the command line over those of the file."""

from collections.abc import Sequence as Seq

from slurmkit.errors import InvalidInputError, Location, Problem
from slurmkit.spec.models import JobSpec
from slurmkit.yamlfile.nodes import Entry, Mapping, Node, Scalar, Sequence, dotted
from slurmkit.yamlfile.reader import read_value
from slurmkit.yamlfile.shapes import Shape, at, shape_of


def apply_overrides(root: Mapping, overrides: Seq[str]) -> Mapping:
    """Return the tree with every override in place; later ones win.

    Raises:
        InvalidInputError: an override has no ``=``, no YAML value or no place in the tree.
    """
    for override in overrides:
        name, equals, text = override.partition("=")
        # Line 0: a place on the command line has no line to name.
        where = Location(f"--set {name}", 0, 0)
        path = tuple(part.strip() for part in name.split("."))
        if not equals or not all(path):
            raise _error(
                f"{override!r} is not KEY=VALUE", "", where, "Write --set resources.nodes=4."
            )
        if path[0] == "extends":
            raise _error("cannot be set from the command line", "extends", where)
        node = _put(root, path, (), _value(path, text, where), where)
        assert isinstance(node, Mapping)
        root = node
    return root


def _value(path: tuple[str, ...], text: str, where: Location) -> Node:
    shape, taken = at(shape_of(JobSpec), tuple(_part(part) for part in path))
    if len(taken) == len(path) and _is_raw(shape):
        # `--set env.X=null` means the word; `--set resources.partition=` takes the key back.
        return Scalar(text, shape.optional, where)
    return read_value(text, where)


def _is_raw(shape: Shape) -> bool:
    return shape.kinds == {"text"} and shape.items is None and shape.model is None


def _part(part: str) -> str | int:
    return int(part) if part.isdecimal() else part


def _put(
    node: Node, path: tuple[str, ...], done: tuple[str, ...], value: Node, where: Location
) -> Node:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(node, Sequence):
        index = int(head) if head.isdecimal() else len(node.items)
        if index >= len(node.items):
            raise _error(
                f"there is no entry {head!r}; {dotted(done)} has {len(node.items)} entries,"
                " counted from 0",
                dotted((*done, head)),
                where,
            )
        changed = list(node.items)
        changed[index] = _put(changed[index], rest, (*done, head), value, where)
        return Sequence(tuple(changed), node.where, node.flow)
    if isinstance(node, Scalar) and not node.is_null:
        raise _error(
            f"{dotted(done)} is {node.text!r}, which holds no keys",
            dotted((*done, *path)),
            where,
            f"Set {dotted(done)} as a whole.",
        )
    entries = dict(node.entries) if isinstance(node, Mapping) else {}
    key = Scalar(head, False, where)
    old = entries[head].value if head in entries else Mapping({}, where)
    entries[head] = Entry(key, _put(old, rest, (*done, head), value, where))
    return Mapping(entries, node.where, node.flow if isinstance(node, Mapping) else True)


def _error(message: str, key: str, where: Location, hint: str = "") -> InvalidInputError:
    return InvalidInputError([Problem(message, key, where, hint, code="bad-override")])
