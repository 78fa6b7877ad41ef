"""Any value survives the way into an environment file and back, through us and through bash."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.errors import UsageError
from slurmkit.rundir.envfile import format_exports, is_variable_name, parse_exports
from slurmkit.rundir.secretfile import read_env_file

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_NASTY = {
    "SPACES": "  a  b ",
    "QUOTES": 'it\'s "quoted" `now`',
    "DOLLAR": "$HOME ${x} $(id) \\$",
    "LINES": "one\ntwo\r\nthree\n",
    "UNICODE": "grüße 🚀 \u2028",
    "EMPTY": "",
    "COMMA": "a,b=c;d&e|f",
    "BACKSLASH": "\\n\\",
    "BYTES": os.fsdecode(b"\xff\xfe"),
}


@given(st.dictionaries(_NAMES, _TEXTS, max_size=5))
def test_any_values_come_back(values: dict[str, str]) -> None:
    assert parse_exports(format_exports(values), "file") == values


def test_nasty_values_come_back_through_a_file_and_bash(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_bytes(os.fsencode(format_exports(_NASTY)))
    assert read_env_file(str(path)) == _NASTY
    shown = subprocess.run(
        ["bash", "-c", '. "$1"; exec env -0', "bash", path], capture_output=True, check=True
    )
    seen = dict(entry.split("=", 1) for entry in os.fsdecode(shown.stdout).split("\0") if entry)
    assert {name: seen[name] for name in _NASTY} == _NASTY


@settings(max_examples=25, deadline=None)
@given(_TEXTS)
def test_bash_reads_what_we_write(value: str) -> None:
    script = format_exports({"VALUE": value}) + 'printf %s "$VALUE"\n'
    done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode() == value


def test_reads_what_people_write() -> None:
    text = '# comment\n\nA=1\nexport B="two words" # why\n  C=a\\ b\nD=\nE=\'x\'"y"z\n'
    assert parse_exports(text, "f") == {"A": "1", "B": "two words", "C": "a b", "D": "", "E": "xyz"}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("A=1\nB C=2\n", "f:2", "NAME=value"),
        ("A=1\n\njust words\n", "f:3", "NAME=value"),
        ("A='never closed\n", "f:1", "never closed"),
        ('A="never closed\n', "f:1", "never closed"),
        ("A=$HOME\n", "f:1", "needs quotes"),
        ('A="$HOME"\n', "f:1", "single quotes"),
        ("A=`id`\n", "f:1", "needs quotes"),
        ("1A=x\n", "f:1", "NAME=value"),
    ],
)
def test_names_file_and_line_of_a_mistake(text: str, where: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_exports(text, "f")
    assert str(caught.value).startswith(f"{where}:")
    assert what in str(caught.value)


def test_an_error_never_shows_a_value() -> None:
    for text in ("TOKEN='s3cret\n", "TOKEN=s3cret$x\n", 'TOKEN="s3cret$"\n', "s3cret words\n"):
        with pytest.raises(UsageError) as caught:
            parse_exports(text, "f")
        assert "s3cret" not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        format_exports({"TOKEN": "s3cret\0"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "Ä", "A=B", "A\n"])
def test_refuses_what_is_no_name(name: str) -> None:
    assert not is_variable_name(name)
    with pytest.raises(UsageError):
        format_exports({name: "x"})
