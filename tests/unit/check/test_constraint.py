"""The language of --constraint: never narrower than Slurm's own reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.check.constraint import parse

NAMES = ("a", "b1", "rack-2", "2024", "k=v")


@pytest.mark.parametrize(
    ("text", "features", "accepted"),
    [
        ("", "", True),
        ("a", "a", True),
        ("a", "b1", False),
        ("a&b1", "a", False),
        ("a&b1", "a b1 c", True),
        ("a,b1", "b1", False),
        ("a|b1", "b1", True),
        ("a|b1", "c", False),
        ("[a|b1]", "b1", True),
        ("[a|b1]", "c", False),
        ("[a*2&b1*1]", "c", True),
        ("a&(b1|c)", "z", True),  # left to Slurm
    ],
)
def test_which_nodes_are_accepted(text: str, features: str, accepted: bool) -> None:
    assert parse(text).accepts(features.split()) is accepted


def test_names_and_counts() -> None:
    parsed = parse("[rack1*2&rack2*4]")
    assert parsed.names == ("rack1", "rack2")
    assert parsed.counts == (("rack1", 2), ("rack2", 4))
    assert parse("[(knl&snc4&flat)*4&haswell*1]").counts == (("haswell", 1),)
    assert parse("[a|b|c]").same == ("a", "b", "c")
    assert parse("2024").names == ("2024",)


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.sampled_from("&|,"))
def test_names_survive_any_operator(names: list[str], operator: str) -> None:
    parsed = parse(operator.join(names))
    assert parsed.names == tuple(names)
    assert parsed.accepts(names)
    assert parsed.accepts(names[:1]) is (operator == "|" or len(names) == 1)


@given(st.text(alphabet="ab1&|,()[]* ", max_size=20))
def test_any_text_is_read(text: str) -> None:
    parsed = parse(text)
    assert parsed.accepts(parsed.names)
