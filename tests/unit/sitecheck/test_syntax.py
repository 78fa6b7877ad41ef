"""Slurm's syntax: what a line says, and at which line and column each word stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.sitecheck.syntax import Line, read_lines


def read(text: str) -> list[Line]:
    return read_lines(text, "slurm.conf")


def pairs(line: Line) -> list[tuple[str, str, int, int, int]]:
    return [
        (pair.key, pair.value, pair.where.line, pair.where.column, pair.value_where.column)
        for pair in line.pairs
    ]


def test_keys_and_values_keep_their_places() -> None:
    text = "ClusterName=a\n\n  NodeName = n[1-2]  CPUs=4 # two\n"
    first, second = read(text)
    assert pairs(first) == [("ClusterName", "a", 1, 1, 13)]
    assert pairs(second) == [("NodeName", "n[1-2]", 3, 3, 14), ("CPUs", "4", 3, 22, 27)]
    assert (first.rest, second.rest) == ("", "")


def test_a_line_that_goes_on_keeps_the_places_of_its_parts() -> None:
    (line,) = read("NodeName=n1 \\\n   CPUs=4 \\  \n Gres=gpu:2\n")
    assert pairs(line) == [
        ("NodeName", "n1", 1, 1, 10),
        ("CPUs", "4", 2, 4, 9),
        ("Gres", "gpu:2", 3, 2, 7),
    ]
    assert line.where.line == 1


@pytest.mark.parametrize(
    ("text", "values", "rest"),
    [
        ('Reason="two words"', ["two words"], ""),
        ("A=b#c", ["b"], ""),
        (r"A=b\#c", ["b#c"], ""),
        (r"A=b\\#c", ["b\\"], ""),
        ("A=b c", ["b"], "c"),
        ('A=b"c d"', ['b"c'], 'd"'),
        ("A += b", ["b"], ""),
        ("A b", [], "A b"),
        ("A=", [], "A="),
        ('A=""', [""], ""),
        ("# only a comment", None, None),
        ("   ", None, None),
        (r"A=b\\", ["b\\"], ""),
    ],
)
def test_lines(text: str, values: list[str] | None, rest: str | None) -> None:
    found = read(text)
    if values is None:
        assert found == []
    else:
        assert [pair.value for pair in found[0].pairs] == values
        assert found[0].rest == rest


def test_what_cannot_be_read_has_a_place() -> None:
    (line,) = read("KillWait=30   half a minute")
    assert line.rest_where is not None
    assert (line.rest_where.line, line.rest_where.column) == (1, 15)


def test_a_comment_in_quotes_is_told() -> None:
    plain, cut = read('A="b" # fine\nB="rack #3"\n')
    assert plain.comment_in_quotes is None
    assert cut.comment_in_quotes is not None
    assert (cut.comment_in_quotes.line, cut.comment_in_quotes.column) == (2, 9)


@pytest.mark.parametrize(
    ("text", "include"),
    [
        ("Include nodes.conf", "nodes.conf"),
        ("INCLUDE\t/x/y", "/x/y"),
        (" Include a", ""),
        ("Includes=a", ""),
    ],
)
def test_include_is_one_in_the_first_column_only(text: str, include: str) -> None:
    assert read(text)[0].include == include


KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda key: not key.lower().startswith("include")
)
WORDS = st.text(
    st.characters(codec="ascii", exclude_characters=' "#\\\t', min_codepoint=33), min_size=1
)
TEXTS = st.text(st.characters(codec="ascii", exclude_characters='"#\\', min_codepoint=32))


@given(st.lists(st.tuples(KEYS, st.one_of(WORDS, TEXTS)), min_size=1, max_size=5), st.booleans())
def test_what_is_written_is_read(said: list[tuple[str, str]], goes_on: bool) -> None:
    between = " \\\n  " if goes_on else "  "
    text = between.join(f'{key}="{value}"' for key, value in said)
    (line,) = read(text)
    assert [(pair.key, pair.value) for pair in line.pairs] == said
    rows = text.split("\n")
    for pair in line.pairs:
        row = rows[pair.where.line - 1]
        assert row[pair.where.column - 1 :].startswith(pair.key)
        value_row = rows[pair.value_where.line - 1]
        assert value_row[pair.value_where.column - 1 :].startswith(pair.value)


@given(st.text())
def test_any_text_is_read_without_failing(text: str) -> None:
    for line in read(text):
        assert line.where.line >= 1
