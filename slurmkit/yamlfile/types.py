"""Types of values that both job.yaml and site.yaml use."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from slurmkit.units import parse_duration_s, parse_size_mib
from slurmkit.yamlfile.shapes import Form

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Patterns tell editors, through the JSON Schema, what the validators below refuse.
ENV_NAME_PATTERN = ENV_NAME.pattern
LINE_PATTERN = r"[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*"
WORD_PATTERN = r"[^\x00-\x1f\x7f\s]+"
DURATION_PATTERN = (
    r"(?![0\-:.]+(\s*[a-z]+\s*)?$)"  # no time at all
    r"((\d+-)?\d+(:\d+){0,2}|(\d+(\.\d+)?\s*(s|min|m|h|d|w)\b\s*)+"
    r"|[Uu][Nn][Ll][Ii][Mm][Ii][Tt][Ee][Dd]|[Ii][Nn][Ff][Ii][Nn][Ii][Tt][Ee])"
)
SIZE_PATTERN = r"\d+(\.\d+)?\s*[KkMmGgTtPp]?([Ii]?[Bb])?"


class Section(BaseModel):
    """Base of all sections: unknown keys are errors and "2" is not 2."""

    # What is never read costs nothing: validators are built when the first file is.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


def single_line(value: str) -> str:
    """Refuse what would end a line of a script or a directive."""
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must be a single line without control characters")
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _word(value: str) -> str:
    single_line(value)
    if any(char.isspace() for char in value):
        raise ValueError(f"{value!r} holds a space, which Slurm would take as the end of the value")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL byte, which no environment variable or argument can carry")
    return value


def _scalar_text(value: Any) -> Any:
    """Accept numbers and booleans from Python; from a file they arrive as they are written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def _env_name(value: str) -> str:
    if not ENV_NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a variable name; use letters, digits and '_', no digit first"
        )
    return value


def _duration(value: str | int) -> str | int:
    parse_duration_s(value)
    return value


def _size(value: str | int) -> str | int:
    parse_size_mib(value)
    return value


Positive = Annotated[int, Field(ge=1)]
Text = Annotated[str, AfterValidator(_no_nul)]
ScalarText = Annotated[str, BeforeValidator(_scalar_text), AfterValidator(_no_nul)]
Line = Annotated[str, AfterValidator(single_line), Form(pattern=LINE_PATTERN)]
Word = Annotated[str, AfterValidator(_word), Form(pattern=WORD_PATTERN)]
EnvName = Annotated[str, AfterValidator(_env_name), Form("a variable name", ENV_NAME_PATTERN)]
Env = dict[EnvName, ScalarText]
Duration = Annotated[
    str | int,
    AfterValidator(_duration),
    Form("a duration such as 4h, 1d 12h, 1-12:00:00 or 90 (minutes)", DURATION_PATTERN, minimum=1),
]
Size = Annotated[
    str | int, AfterValidator(_size), Form("a size such as 64G", SIZE_PATTERN, minimum=0)
]
