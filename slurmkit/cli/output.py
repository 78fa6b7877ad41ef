"""How results look: JSON for programs, tables and colours on a terminal, plain text elsewhere."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from slurmkit.errors import InvalidInputError, Problem, SlurmkitError

_RED, _YELLOW, _GREEN, _DIM, _RESET = "\033[31m", "\033[33m", "\033[32m", "\033[2m", "\033[0m"
_STATE_COLOURS = {"COMPLETED": _GREEN, "RUNNING": _GREEN, "PENDING": _YELLOW, "COMPLETING": _YELLOW}
#: A longer cell does not make its column wider.
_WIDEST = 60


def echo(text: str = "") -> None:
    """Print one line to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print one line to standard error: what a person wants to know and a program does not."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """Print a result as JSON with sorted keys; dataclasses, enums and paths are understood."""
    echo(json.dumps(value, indent=2, sort_keys=True, default=_plain))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _paint(text: str, colour: str, *, stream: Any) -> str:
    return f"{colour}{text}{_RESET}" if stream.isatty() else text


def paint_state(state: str) -> str:
    """Return the state in its colour on a terminal, else as it is."""
    return _paint(state, _STATE_COLOURS.get(state, _RED), stream=sys.stdout)


def paint_verdict(text: str, verdict: str) -> str:
    """Return a line in the colour of pass, warn, fail or skipped on a terminal, else as it is."""
    colours = {"warn": _YELLOW, "fail": _RED, "skipped": _DIM}
    return _paint(text, colours[verdict], stream=sys.stdout) if verdict in colours else text


def dim(text: str) -> str:
    """Return the text in grey on a terminal, else as it is."""
    return _paint(text, _DIM, stream=sys.stdout)


def print_problems(problems: Iterable[Problem]) -> None:
    """Print problems to standard error, one each, errors before warnings."""
    for problem in sorted(problems, key=lambda problem: problem.warning):
        word, colour = ("warning", _YELLOW) if problem.warning else ("error", _RED)
        note(f"{_paint(word, colour, stream=sys.stderr)}: {problem}")


def print_problem(problem: Problem) -> None:
    """Print one problem to standard error."""
    print_problems([problem])


def print_error(error: SlurmkitError, *, as_json: bool = False) -> None:
    """Print an error that ends the command; a program that asked for JSON gets that as well."""
    if isinstance(error, InvalidInputError):
        problems = error.problems
        print_problems(problems)
    else:
        problems = [Problem(error.message, hint=error.hint, code="error")]
        note(f"{_paint('error', _RED, stream=sys.stderr)}: {error}")
    if as_json:
        print_json({"ok": False, "problems": [problem_json(problem) for problem in problems]})


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as the published schema has it."""
    where = problem.where
    return {
        "code": problem.code,
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
        "severity": "warning" if problem.warning else "error",
        "file": where.file if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
    }


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return aligned lines, without rich: two spaces between columns, none after the last.

    A cell of more than 60 characters moves the rest of its own line, not that of all others.
    """
    body = [list(header), *(list(row) for row in rows)]
    widths = [
        max(len(row[i]) for row in body if row is body[0] or len(row[i]) <= _WIDEST)
        for i in range(len(header))
    ]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in body
    ]
