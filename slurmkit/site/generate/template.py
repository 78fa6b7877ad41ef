"""Fills in the templates of a site's files."""

import re
import shlex
import textwrap
from functools import cache
from typing import Any

import jinja2

from slurmkit.resources import shipped_dir
from slurmkit.site.generate import versions
from slurmkit.site.generate.release import Release


def fill(name: str, release: Release, **values: Any) -> str:
    """Return the text of ``templates/site/NAME.j2``.

    Args:
        name: the template, without ``.j2``.
        release: what ``release``, ``known(file, keyword)`` and ``has(file, keyword, value)`` in it
            go by.
        values: what else it may name.
    """
    return (
        _environment()
        .get_template(f"site/{name}.j2")
        .render(
            release=release,
            known=lambda file, keyword: versions.state(file, keyword, release) == "known",
            has=lambda file, key, value: versions.knows(file, key, value, release),
            **values,
        )
    )


def _comment(text: str) -> str:
    """Return a text as the lines of a comment."""
    return textwrap.fill(text, 98, initial_indent="# ", subsequent_indent="# ")


def _lua(value: str | bool) -> str:
    """Return a value as Lua has it, which reads a text's bytes as they are."""
    if isinstance(value, bool):
        return str(value).lower()
    text = value.replace("\\", r"\\").replace('"', r"\"")
    return '"' + re.sub(r"[\x00-\x1f]", lambda found: f"\\{ord(found[0]):03d}", text) + '"'


@cache
def _environment() -> jinja2.Environment:
    # Nothing here becomes HTML; quoting is Slurm's, systemd's or the shell's.
    environment = jinja2.Environment(  # noqa: S701
        loader=jinja2.FileSystemLoader(shipped_dir("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shell"] = shlex.quote
    environment.filters["comment"] = _comment
    environment.filters["lua"] = _lua
    return environment
