"""Frozen value classes that cost nothing to import.

`dataclasses` pulls in `inspect` (about 10 ms), and errors and topologies are read in
`slurmkit exec`, on every rank's critical path. Type checkers see frozen dataclasses; fields,
defaults, equality, hashing and repr behave as theirs do. Differences: no `field()`, so a default is
an immutable value.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_options):  # noqa: D103
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Record:
    """A frozen value: subclass it, annotate the fields, give immutable defaults."""

    if TYPE_CHECKING:
        _fields: tuple[str, ...]
    else:
        _fields = ()

        def __init_subclass__(cls):
            cls._fields = (*cls._fields, *cls.__annotations__)

        def __init__(self, *args, **kwargs):
            names = self._fields
            if len(args) > len(names):
                raise TypeError(f"{type(self).__name__} takes {len(names)} values, not {len(args)}")
            values = dict(zip(names, args, strict=False))
            for name in names[len(args) :]:
                if name in kwargs:
                    values[name] = kwargs.pop(name)
                elif hasattr(type(self), name):
                    values[name] = getattr(type(self), name)
                else:
                    raise TypeError(f"{type(self).__name__} needs {name}")
            if kwargs:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(kwargs)}")
            self.__dict__.update(values)

    def replace(self, **changes: "Any") -> "Self":
        """Return a copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__[name] for name in self._fields))

    def __repr__(self) -> str:
        body = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._fields)
        return f"{type(self).__name__}({body})"
