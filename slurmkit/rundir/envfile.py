r"""Environment variables in a file: shell text that bash can source and that parses back exactly.

The writer emits ``export NAME='value'``, a quote inside as ``'\''``. The reader also takes what
people write by hand: comments, no ``export``, double quotes, backslashes. It expands nothing.
"""

_UNQUOTED_SPECIAL = "$`;&|<>()*?[]!{}~"


def is_variable_name(name: str) -> bool:
    """Whether a shell can export a variable of this name."""
    return name.isascii() and name.isidentifier()


def format_exports(values: dict[str, str]) -> str:
    """Return one ``export`` line per variable.

    Raises:
        UsageError: a name is no variable name, or a value holds NUL.
    """
    lines = []
    for name, value in values.items():
        if not is_variable_name(name):
            raise _error(f"{name!r} is not the name of an environment variable")
        if "\0" in value:
            raise _error(f"the value of {name} contains a NUL byte, which no environment can carry")
        quoted = value.replace("'", "'\\''")
        lines.append(f"export {name}='{quoted}'\n")
    return "".join(lines)


def parse_exports(text: str, source: str) -> dict[str, str]:
    """Return the variables of such a file.

    Args:
        text: the file's content; undecodable bytes as surrogates, as ``os.fsdecode`` gives them.
        source: the file's name, for error messages.

    Raises:
        UsageError: something in it is no assignment; names the line, never the value.
    """
    values: dict[str, str] = {}
    position, end = 0, len(text)
    while position < end:
        char = text[position]
        if char.isspace():
            position += 1
        elif char == "#":
            position = _line_end(text, position)
        else:
            start = position
            if text.startswith(("export ", "export\t"), position):
                position += len("export ")
            equals = text.find("=", position, _line_end(text, position))
            name = text[position:equals].lstrip() if equals >= 0 else ""
            if not is_variable_name(name):
                raise _at(source, text, start, "expected NAME=value")
            values[name], position = _read_word(text, equals + 1, source)
    return values


def _read_word(text: str, position: int, source: str) -> tuple[str, int]:
    """Return one shell word without its quotes, and where it ends."""
    parts: list[str] = []
    while position < len(text):
        char = text[position]
        if char.isspace():
            break
        if char == "'":
            closed = text.find("'", position + 1)
            if closed < 0:
                raise _at(source, text, position, "a quote is never closed")
            parts.append(text[position + 1 : closed])
            position = closed + 1
        elif char == '"':
            part, position = _read_double_quoted(text, position, source)
            parts.append(part)
        elif char == "\\":
            parts.append(text[position + 1 : position + 2].replace("\n", ""))
            position += 2
        elif char in _UNQUOTED_SPECIAL:
            message = f"{char} needs quotes: write NAME='value'; nothing is expanded here"
            raise _at(source, text, position, message)
        else:
            parts.append(char)
            position += 1
    return "".join(parts), position


def _read_double_quoted(text: str, opened: int, source: str) -> tuple[str, int]:
    parts: list[str] = []
    position = opened + 1
    while position < len(text):
        char = text[position]
        if char == '"':
            return "".join(parts), position + 1
        if char in "$`":
            message = f"{char} in double quotes would be expanded by a shell: use single quotes"
            raise _at(source, text, position, message)
        if char == "\\" and text[position + 1 : position + 2] in ('"', "\\", "$", "`", "\n"):
            position += 1
            char = text[position].replace("\n", "")
        parts.append(char)
        position += 1
    raise _at(source, text, opened, "a quote is never closed")


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _at(source: str, text: str, position: int, message: str) -> Exception:
    line = text.count("\n", 0, position) + 1
    return _error(f"{source}:{line}: {message}")


def _error(message: str) -> Exception:
    from slurmkit.errors import UsageError  # noqa: PLC0415 (every rank reads such a file: errors only when needed)

    return UsageError(message)
