"""Any text goes through real bash and comes out as it was."""

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from slurmkit.plan.model import Directive, Variable
from slurmkit.render.shell import comment, directive, quote, quote_word, quote_words

_BASH = shutil.which("bash") or pytest.fail("bash is not installed")
_PLAIN_ENV = {"PATH": os.environ["PATH"]}

# What breaks naive quoting, more often than chance would bring it up.
_HARD = st.sampled_from(
    [*" '\"$`\\!\n\r\t~#-{*=,;\x01\x7fé☃“”‘’\u00a0\u2028", "$HOME", "$(id)", "${"]  # noqa: RUF001
)
TEXT = st.lists(
    _HARD | st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
).map("".join)
BYTES = st.binary(max_size=12).map(
    lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)


def _run(script: str) -> bytes:
    done = subprocess.run(
        [_BASH, "-c", script.encode("utf-8", "surrogateescape")],
        env=_PLAIN_ENV,
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(TEXT | BYTES, min_size=1, max_size=8))
@example(["", "-n", "--", "~", "~root", "a b", "{a,b}", "*", "$'x'", "\\", "'", "\x7f1", "\x011"])
def test_values_and_arguments_arrive_unchanged(texts: list[str]) -> None:
    exports = "\n".join(f"export V{n}={quote(text)}" for n, text in enumerate(texts))
    words = quote_words([(text,) for text in texts])
    script = f"set -euo pipefail\n{exports}\nprintf '%s\\0' {words} "
    script += " ".join(f'"$V{n}"' for n in range(len(texts)))
    expected = [text.encode("utf-8", "surrogateescape") for text in texts]
    assert _run(script).split(b"\0")[:-1] == expected * 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(TEXT | st.just(Variable("VALUE")), min_size=1, max_size=6), TEXT)
@example([Variable("VALUE"), "word", Variable("VALUE"), "[0]"], "x")
@example(["--lr=", Variable("VALUE")], "1 2")
@example(["--name=a b"], "")
def test_variables_inside_a_word_are_expanded_and_not_split(
    parts: list[str | Variable], value: str
) -> None:
    script = f"VALUE={quote(value)}\nprintf '%s\\0' {quote_word(tuple(parts))} end"
    expected = "".join(value if isinstance(part, Variable) else part for part in parts)
    assert _run(script) == f"{expected}\0end\0".encode()


@settings(max_examples=100)
@given(TEXT | BYTES)
def test_a_quoted_word_stays_on_its_line_and_without_carriage_return(text: str) -> None:
    assert not set(quote(text)) & {"\n", "\r", "\x1b"}


@settings(max_examples=100)
@given(TEXT | BYTES)
def test_a_comment_is_one_line(text: str) -> None:
    assert len(f"# {comment(text)} #".splitlines()) == 1


def test_shellcheck_finds_nothing_in_any_value() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (apt-get install shellcheck)")
    lines = ["#!/bin/bash"]

    @settings(max_examples=300, phases=[Phase.generate], database=None)
    @given(TEXT | BYTES)
    def collect(text: str) -> None:
        lines.append(f"export V{len(lines)}={quote(text)}; run {quote(text)}")

    collect()
    script = "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
    done = subprocess.run(
        ["shellcheck", "--norc", "-"], input=script, capture_output=True, timeout=120, check=False
    )
    assert done.stdout.decode() == ""


def test_a_nul_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain-1.2", "plain-1.2"),
        ("/runs/%%50/slurm-%j.out", "/runs/%%50/slurm-%j.out"),
        ("gpu&avx512|(a*2)", "gpu&avx512|(a*2)"),
        ("two words", '"two words"'),
        ("a#b", '"a#b"'),
        ('say "hi" it\'s', '"say \\"hi\\" it\'s"'),
        ("back\\slash", '"back\\\\slash"'),
    ],
)
def test_directives_are_quoted_as_sbatch_reads_them(value: str, written: str) -> None:
    assert directive(Directive("--x", value)) == f"--x={written}"


def test_a_long_command_is_broken_into_lines_that_bash_joins(
    script: Callable[..., str],
) -> None:
    words = [f"--option-{number}={number}" for number in range(40)]
    text = script({"launch": {"command": ["prog", *words]}})
    assert max(len(line) for line in text.splitlines()) <= 110
    folded = text.replace("\\\n", "")
    assert folded.split("exec --")[1].split() == ["prog", *words]
