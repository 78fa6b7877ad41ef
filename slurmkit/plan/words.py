"""Paths and ``{sweep.NAME}`` references as words of a command."""

import posixpath
import re
from collections.abc import Container

from slurmkit.plan.model import Variable, Word

_REFERENCE = re.compile(r"\{sweep\.([^{}]*)\}")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)


def path_word(path: str, base_dir: str) -> Word:
    """Return an absolute path as a word; ``~/`` becomes the home folder of whoever runs the job."""
    if path == "~" or path.startswith("~/"):
        return (Variable("HOME"), path[1:]) if path[1:] else (Variable("HOME"),)
    return (posixpath.normpath(posixpath.join(base_dir, path)),)


def variables_word(path: str) -> Word:
    """Return an absolute path in which ``$NAME`` and ``~`` are expanded where the job runs."""
    parts: list[Word | str] = []
    end = 0
    for match in _VARIABLE.finditer(path):
        parts += [path[end : match.start()], (Variable(match[1] or match[2]),)]
        end = match.end()
    if not parts:
        return path_word(path, "/")
    return tuple(part for part in join_word(*parts, path[end:]) if part != "")


def join_word(*parts: Word | str) -> Word:
    """Return one word out of several, neighbouring texts joined."""
    joined: list[str | Variable] = []
    for part in parts:
        for item in (part,) if isinstance(part, str) else part:
            if isinstance(item, str) and joined and isinstance(last := joined[-1], str):
                joined[-1] = last + item
            else:
                joined.append(item)
    return tuple(joined)


def literal(text: str) -> Word:
    """Return text as a word without variables."""
    return (text,)


def sweep_variable(name: str) -> str:
    """Return the environment variable that carries a swept value."""
    return f"SWEEP_{name.upper()}"


def argument_word(text: str, swept: Container[str]) -> Word:
    """Return an argument with its ``{sweep.NAME}`` references as variables."""
    parts: list[Word | str] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        if match[1] in swept:
            parts += [text[end : match.start()], (Variable(sweep_variable(match[1])),)]
            end = match.end()
    word = join_word(*parts, text[end:])
    return tuple(part for part in word if part != "") or ("",)
