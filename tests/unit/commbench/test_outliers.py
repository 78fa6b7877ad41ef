"""The tournament, and who is to blame for slow pairs."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.bench.outliers import find_slow
from slurmkit.bench.pairs import schedule
from slurmkit.bench.tournament import rounds
from slurmkit.bench.values import Pair


@given(st.integers(0, 60))
def test_every_pair_meets_once_and_nobody_plays_twice_in_a_round(players: int) -> None:
    played = rounds(players)
    assert sorted(itertools.chain.from_iterable(played)) == list(
        itertools.combinations(range(players), 2)
    )
    for matches in played:
        names = list(itertools.chain.from_iterable(matches))
        assert len(names) == len(set(names))
    assert len(played) == (0 if players < 2 else players - 1 + players % 2)


def test_ranks_of_a_number_meet() -> None:
    found = schedule(["a", "a", "b", "b", "c", "c"])
    assert len(found) == 3
    ranks = {match.ranks for matches in found for match in matches}
    assert ranks == {(0, 2), (1, 3), (0, 4), (1, 5), (2, 4), (3, 5)}
    assert all(len(matches) == 2 for matches in found)


def test_on_one_node_ranks_meet() -> None:
    assert [match.names for matches in schedule(["a"] * 3) for match in matches].count(
        ("rank 0", "rank 2")
    ) == 1


def _pairs(speed: dict[tuple[int, int], float], nodes: int, rails: int = 1) -> list[Pair]:
    """Return pairs whose speed is that of the slower end, with 5 % of noise."""
    noise = random.Random(7)
    return [
        Pair(
            f"n{a}",
            f"n{b}",
            rail,
            min(speed.get((a, rail), 1e9), speed.get((b, rail), 1e9)) * noise.uniform(0.95, 1.05),
            1e-6,
        )
        for a, b in itertools.combinations(range(nodes), 2)
        for rail in range(rails)
    ]


@pytest.mark.parametrize("nodes", [2, 3, 4, 8, 17, 64])
def test_healthy_nodes_are_left_alone(nodes: int) -> None:
    assert find_slow(_pairs({}, nodes, rails=4)) == []


@pytest.mark.parametrize("nodes", [3, 4, 5, 8, 17, 64])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6])
def test_the_slow_node_is_named(nodes: int, share: float) -> None:
    found = find_slow(_pairs({(1, 0): share * 1e9}, nodes))
    assert [(item.kind, item.name) for item in found] == [("node", "n1")]
    assert "n1" in found[0].message


def test_the_slow_node_stands_out_where_the_others_scatter() -> None:
    """Four nodes on a busy machine: what is left is fast, less fast, and one that crawls."""
    speeds = {(0, 0): 2.2e9, (1, 0): 2.1e9, (2, 0): 1.2e9, (3, 0): 1e7}
    names = {item.name for item in find_slow(_pairs(speeds, 4)) if item.kind == "node"}
    assert names == {"n3"}


def test_two_slow_nodes_of_eight() -> None:
    found = find_slow(_pairs({(1, 0): 4e8, (6, 0): 1e8}, 8))
    assert [item.name for item in found] == ["n1", "n6"]


def test_one_rail_of_one_node() -> None:
    found = find_slow(_pairs({(2, 5): 1e8}, 8, rails=8))
    assert [(item.kind, item.name) for item in found] == [("node-rail", "n2 rail 5")]


def test_all_rails_of_a_node_are_the_node() -> None:
    found = find_slow(_pairs({(2, rail): 1e8 for rail in range(8)}, 8, rails=8))
    assert [(item.kind, item.name) for item in found] == [("node", "n2")]


def test_one_rail_of_all_nodes() -> None:
    found = find_slow(_pairs({(node, 3): 3e8 for node in range(8)}, 8, rails=8))
    assert [(item.kind, item.name) for item in found] == [("rail", "rail 3")]


def test_one_slow_way_between_two_good_nodes() -> None:
    pairs = [
        Pair(p.first, p.second, p.rail, p.bytes_per_s * (0.3 if p.first == "n2" else 1), 0)
        if (p.first, p.second) == ("n2", "n5")
        else p
        for p in _pairs({}, 8)
    ]
    found = find_slow(pairs)
    assert [(item.kind, item.name) for item in found] == [("pair", "n2 - n5 rail 0")]


def test_all_slow_shows_against_the_rated_speed_only() -> None:
    pairs = _pairs({(node, 0): 1e8 for node in range(4)}, 4)
    assert find_slow(pairs) == []
    found = find_slow(pairs, rated_bytes_per_s=1e9)
    assert [item.kind for item in found] == ["all"]


def test_of_two_nodes_none_is_blamed() -> None:
    assert find_slow(_pairs({(0, 0): 1e8}, 2)) == []


def test_no_pairs() -> None:
    assert find_slow([]) == []
