"""What bare words mean, and that what is written reads back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.errors import InvalidInputError, Location
from slurmkit.yamlfile.nodes import Mapping, Node, Scalar, Sequence, merge
from slurmkit.yamlfile.reader import read_document, read_value
from slurmkit.yamlfile.writer import dump

HERE = Location("--set x", 0, 0)


def data_of(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {name: data_of(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [data_of(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nUll", "nUll"),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("010", "010"),
        ("-010", "-010"),
        ("0o17", "0o17"),
        ("0x1f", "0x1f"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30:00", "1:30:00"),
        ("1:30", "1:30"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        ("01.5", "01.5"),
        (".", "."),
        ("e5", "e5"),
        ("-", "-"),
        (".inf", float("inf")),
        ("-.Inf", float("-inf")),
        ("2026-11-20", "2026-11-20"),
        ("9" * 18, int("9" * 18)),
        ("9" * 5000, "9" * 5000),
        ("٣", "٣"),
    ],
)
def test_bare_words(text: str, value: object) -> None:
    found = Scalar(text, True, HERE).value()
    assert found == value
    assert type(found) is type(value)
    assert Scalar(text, False, HERE).value() == text


def test_not_a_number() -> None:
    value = Scalar(".nan", True, HERE).value()
    assert value != value


def test_one_value_of_a_command_line() -> None:
    assert data_of(read_value("[a, {b: 1}]", HERE)) == ["a", {"b": 1}]
    assert data_of(read_value("", HERE)) is None
    assert read_value("a", HERE).where is HERE
    with pytest.raises(InvalidInputError) as caught:
        read_value("[", HERE)
    assert caught.value.problems[0].where is HERE


def test_merging_replaces_all_but_mappings() -> None:
    base = read_value("{a: {x: 1, y: [1]}, b: [1, 2], c: 1}", HERE)
    over = read_value("{a: {y: [2], z: 3}, b: [3], c: {d: 4}}", HERE)
    assert data_of(merge(base, over)) == {
        "a": {"x": 1, "y": [2], "z": 3},
        "b": [3],
        "c": {"d": 4},
    }


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(
        ["on", "1e5", "0x1", "~", "null", "...", "---", "- a", "a: b", "=", "<<", "64G"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXT.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(value=st.dictionaries(TEXT.filter(lambda key: key != "<<"), VALUES, min_size=1, max_size=4))
def test_what_is_written_reads_back(value: dict[str, Any]) -> None:
    text = dump(value)
    assert data_of(read_document(text.encode(), "test")) == value
    assert dump(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("4h", "4h"),
        ("64G", "64G"),
        ("--lr=0.1", "--lr=0.1"),
        ("~/venv", "~/venv"),
        ("h100:8", "h100:8"),
        ("docker://a/b:1", "docker://a/b:1"),
        ("off", '"off"'),
        ("010", '"010"'),
        ("1:30", '"1:30"'),
        ("1e5", '"1e5"'),
        ("a: b", '"a: b"'),
        ("a:", '"a:"'),
        ("#a", '"#a"'),
        ("...", '"..."'),
        ("", '""'),
        ("\x7f\u2028", '"\\u007f\\u2028"'),
        (True, "true"),
        (None, "null"),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_layout_of_scalars(value: object, text: str) -> None:
    assert dump({"key": value}) == f"key: {text}\n"


def test_layout_of_blocks() -> None:
    value = {"a": {"b": [1, {"c": 2, "d": [3]}, [4, 5]]}, "e": []}
    assert dump(value) == (
        "a:\n  b:\n    - 1\n    - c: 2\n      d:\n        - 3\n    - - 4\n      - 5\ne: []\n"
    )
