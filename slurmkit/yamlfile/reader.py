"""Reads YAML text into a tree that keeps line and column of everything."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from slurmkit.errors import InvalidInputError, Location, Problem
from slurmkit.yamlfile.nodes import Entry, Mapping, Node, Scalar, Sequence

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
# Aliases repeat what they name; ten lines of them can stand for gigabytes. Weight is characters
# plus a constant for each node, counted as if every alias were written out.
MAX_WEIGHT = 1 << 22
_NODE_WEIGHT = 16

# libyaml reads many times faster than the Python scanner; not every build of PyYAML has it.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]",
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXT_TAGS = frozenset(("!", "tag:yaml.org,2002:str"))


def read_bytes(path: str) -> bytes:
    """Return a file's content, cut where it is too long to be read anyway.

    Raises:
        OSError: as ``open``.
        ValueError: the path holds a NUL byte.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - PurePath would refuse no name less
        return file.read(MAX_BYTES + 1)


def read_document(data: bytes, file: str) -> Mapping:
    """Return the mapping that a file holds.

    Args:
        data: the file's content.
        file: how messages name the file.

    Raises:
        InvalidInputError: not UTF-8, not YAML, more than one document, or no mapping at the top.
    """
    text = _decode(data, file)
    node = _Composer(text, file).compose()
    if node is None:
        raise _error(Location(file, 1, 1), "the file is empty", code="empty-file")
    if not isinstance(node, Mapping):
        got = "a list" if isinstance(node, Sequence) else repr(node.text[:40])
        raise _error(
            node.where,
            f"expected keys and values such as 'name: my-job' at the top, got {got}",
        )
    return node


def read_value(text: str, where: Location) -> Node:
    """Return one value of a command line, such as ``4`` or ``[a, b]``; all of it is at ``where``.

    Raises:
        InvalidInputError: the text is not YAML.
    """
    if bad := _UNPRINTABLE.search(text):
        raise _error(where, f"the value holds the character {bad[0]!a}, which YAML cannot carry")
    node = _Composer(text, where.file, where).compose()
    return Scalar("", True, where) if node is None else node


def _error(
    where: Location, message: str, hint: str = "", code: str = "bad-yaml"
) -> InvalidInputError:
    return InvalidInputError([Problem(message, where=where, hint=hint, code=code)])


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise _error(
            Location(file, 1, 1),
            f"the file has more than {MAX_BYTES} bytes",
            code="too-large",
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _error(
            Location(file, 1, 1), "the file is UTF-16", "Save it as UTF-8.", code="bad-encoding"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise _error(
            _place_after(before, file),
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            "Save the file as UTF-8.",
            code="bad-encoding",
        ) from None
    text = text.removeprefix("\ufeff")
    if bad := _UNPRINTABLE.search(text):
        raise _error(
            _place_after(text[: bad.start()], file),
            f"the control character {bad[0]!a} may not stand in YAML",
            'Delete it, or write it as an escape such as "\\x1b" in double quotes.',
            code="bad-encoding",
        )
    return text


def _place_after(before: str, file: str) -> Location:
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return Location(file, len(lines), len(lines[-1]) + 1)


@dataclass(eq=False, repr=False)
class _Frame:
    """A list or mapping that is still open."""

    start: Any
    where: Location
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    merged: list[Mapping] = field(default_factory=list)
    key: Scalar | None = None
    depth: int = 0
    weight: int = _NODE_WEIGHT

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.start, yaml.MappingStartEvent)


class _Composer:
    """Builds the tree from events without recursion, so that nesting cannot end the process."""

    def __init__(self, text: str, file: str, where: Location | None = None) -> None:
        self._text = text
        self._file = file
        self._where = where
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._stack: list[_Frame] = []
        self._root: Node | None = None

    def compose(self) -> Node | None:
        """Return the top node; None for a document without content."""
        loader = _Loader(self._text)
        documents = 0
        try:
            while True:
                event = loader.get_event()
                if isinstance(event, yaml.StreamEndEvent):
                    return self._root
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise _error(
                            self._place(event.start_mark),
                            "a second document starts here; one file holds one job or site",
                            "Delete the '---' line or move what follows to a file of its own.",
                        )
                else:
                    self._take(event)
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from None
        except yaml.YAMLError as error:
            raise _error(self._where or Location(self._file, 1, 1), f"not YAML: {error}") from None
        finally:
            loader.dispose()

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            where = self._place(event.start_mark)
            if event.anchor not in self._anchors:
                inside = any(frame.start.anchor == event.anchor for frame in self._stack)
                raise _error(
                    where,
                    f"*{event.anchor} stands inside the value that it names"
                    if inside
                    else f"there is no &{event.anchor} before this *{event.anchor}",
                    "" if inside else "Quote the value if the * is meant as it stands.",
                )
            node, depth, weight = self._anchors[event.anchor]
            self._add(node, depth, weight, where)
        elif isinstance(event, yaml.ScalarEvent):
            self._check_tag(event)
            if not event.value.isascii() and _SURROGATE.search(event.value):
                # libyaml refuses such escapes, the Python scanner does not.
                raise _error(
                    self._place(event.start_mark),
                    "an escape between \\ud800 and \\udfff stands for half a character",
                    "Write the character itself, or \\U with eight digits.",
                )
            plain = not event.style and event.tag is None
            scalar = Scalar(event.value, plain, self._place(event.start_mark))
            weight = len(event.value) + _NODE_WEIGHT
            self._keep(event.anchor, scalar, 0, weight)
            self._add(scalar, 0, weight, scalar.where)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._check_tag(event)
            where = self._place(event.start_mark)
            if len(self._stack) >= MAX_DEPTH:
                raise _error(where, f"nested more than {MAX_DEPTH} levels deep")
            self._stack.append(_Frame(event, where))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            frame = self._stack.pop()
            node = self._close(frame)
            self._keep(frame.start.anchor, node, frame.depth, frame.weight)
            self._add(node, frame.depth, frame.weight, frame.where)

    def _close(self, frame: _Frame) -> Node:
        if not frame.is_mapping:
            return Sequence(tuple(frame.items), frame.where, bool(frame.start.flow_style))
        entries = dict(frame.entries)
        for mapping in frame.merged:
            for name, entry in mapping.entries.items():
                entries.setdefault(name, entry)
        return Mapping(entries, frame.where, bool(frame.start.flow_style))

    def _keep(self, anchor: str | None, node: Node, depth: int, weight: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, depth, weight)

    def _add(self, node: Node, depth: int, weight: int, where: Location) -> None:
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        frame.depth = max(frame.depth, depth + 1)
        frame.weight += weight
        if frame.weight > MAX_WEIGHT or frame.depth + len(self._stack) > MAX_DEPTH + 1:
            raise _error(
                where,
                "the file grows out of bounds when its aliases are written out",
                "Write the values out where they are used, or use fewer * aliases.",
                code="too-large",
            )
        if not frame.is_mapping:
            frame.items.append(node)
        elif frame.key is None:
            frame.key = self._as_key(node, where)
        else:
            self._add_entry(frame, frame.key, node, where)
            frame.key = None

    def _as_key(self, node: Node, where: Location) -> Scalar:
        if isinstance(node, Scalar):
            return Scalar(node.text, node.plain, where)
        hint = "Quote a value that starts with { or [." if node.flow else ""
        raise _error(where, "a key must be a name, not a list or a mapping", hint)

    def _add_entry(self, frame: _Frame, key: Scalar, value: Node, where: Location) -> None:
        if key.text == "<<" and key.plain:
            if frame.merged:
                raise _error(key.where, "'<<' stands twice in one mapping; write <<: [*a, *b]")
            frame.merged = self._merged(value, where)
            return
        if (first := frame.entries.get(key.text)) is not None:
            raise _error(
                key.where,
                f"the key {key.text!r} stands twice; it is first at line {first.key.where.line}, "
                f"column {first.key.where.column}",
                "Keep one of the two.",
                code="duplicate-key",
            )
        frame.entries[key.text] = Entry(key, value)

    def _merged(self, value: Node, where: Location) -> list[Mapping]:
        parts = value.items if isinstance(value, Sequence) else (value,)
        mappings = [part for part in parts if isinstance(part, Mapping)]
        if not mappings or len(mappings) < len(parts):
            raise _error(where, "'<<' takes a mapping or a list of mappings, such as <<: *defaults")
        return mappings

    def _check_tag(self, event: Any) -> None:
        tag = event.tag
        if tag is None or (isinstance(event, yaml.ScalarEvent) and tag in _TEXT_TAGS):
            return
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        raise _error(
            self._place(event.start_mark),
            f"the tag {shown} is not understood",
            "Leave the tag out; quote the value if it starts with '!'.",
        )

    def _place(self, mark: Any) -> Location:
        return self._where or Location(self._file, mark.line + 1, mark.column + 1)

    def _syntax_error(self, error: Any) -> InvalidInputError:
        mark = error.problem_mark or error.context_mark
        where = self._where or Location(self._file, 1, 1)
        line = ""
        if mark is not None:
            where = self._place(mark)
            lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", self._text)
            line = lines[mark.line] if mark.line < len(lines) else ""
        message, hint = _explain(error.problem or error.context or "", line)
        return _error(where, message, hint)


def _explain(problem: str, line: str) -> tuple[str, str]:
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        return "a tab indents this line; YAML allows spaces only", "Replace the tab by spaces."
    if "mapping values are not allowed" in problem:
        return (
            "a ':' that starts a value may not stand here",
            "Put the value in quotes if the ': ' belongs to it; else check the indentation.",
        )
    if "cannot start any token" in problem:
        return (
            "no value may start with this character",
            "Put the value in quotes if it starts with @, `, % or a tab.",
        )
    if "undefined alias" in problem:
        return problem, "Quote the value if the * is meant as it stands."
    return f"this is not YAML: {problem}", "Check the indentation, quotes and brackets near here."
