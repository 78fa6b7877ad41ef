"""Silence is measured while we run ourselves; how much is allowed depends on the node."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slurmkit.supervise.agent_liveness import AwakeClock, NodeState, Patience, overdue

PATIENCE = Patience(silent_s=3.0, quiet_s=2.0, reconnect_s=30.0, start_s=60.0, nobody_s=120.0)


def test_a_stall_counts_as_one_short_pause() -> None:
    clock = AwakeClock(100.0, longest_s=0.5)
    assert clock.tick(100.2) == 0.2 or abs(clock.time - 0.2) < 1e-9
    clock.tick(110.2)  # stopped for ten seconds
    assert abs(clock.time - 0.7) < 1e-9
    assert abs(clock.stalled_s - 9.5) < 1e-9


@given(st.lists(st.floats(0, 100), max_size=50))
def test_the_clock_never_runs_backwards_nor_ahead(pauses: list[float]) -> None:
    now, clock = 0.0, AwakeClock(0.0, longest_s=0.5)
    last = 0.0
    for pause in pauses:
        now += pause
        time = clock.tick(now)
        assert last <= time <= now + 1e-6
        assert time - last <= 0.5 + 1e-9
        last = time


def late(now: float, *, anybody: bool = True, **state: Any) -> float | None:
    """For how long a node is silent that was heard at 0; None when it may be."""
    found = overdue(NodeState(**{"heard": 0.0, **state}), now, PATIENCE, anybody=anybody)
    return found[0] if found else None


def test_a_connected_node_is_lost_after_three_heartbeats() -> None:
    assert late(3.0, connected=True, was_up=True) is None
    assert late(3.1, connected=True, was_up=True) == 3.1


def test_a_word_between_heartbeats_stands_for_one_of_them() -> None:
    """Of a node that says much, the fourth heartbeat need not be waited for."""
    assert late(3.1, connected=True, was_up=True, heard=0.9) == 3.1
    assert late(3.1, connected=True, was_up=True, heard=1.2) is None
    assert late(3.3, connected=True, was_up=True, heard=1.2) == 3.3


@given(st.floats(0, 10), st.floats(0, 3), st.floats(0, 3))
def test_nobody_is_lost_who_was_heard_within_two_heartbeats(
    beat: float, heard: float, silent: float
) -> None:
    heard = beat + heard
    now = heard + silent
    found = late(now, connected=True, was_up=True, beat=beat, heard=heard)
    assert (found is not None) == (now - beat > 3.0 and now - heard > 2.0)


def test_an_agent_that_ended_alone_is_given_time_to_come_back() -> None:
    assert late(30.0, was_up=True) is None
    assert late(30.1, was_up=True) == 30.1


def test_a_node_is_not_lost_because_no_agent_can_be_started_anywhere() -> None:
    assert late(119.0, was_up=True, anybody=False) is None
    assert late(121.0, was_up=True, anybody=False) == 121.0


def test_an_agent_that_never_came() -> None:
    assert late(60.0) is None
    found = overdue(NodeState(heard=0.0), 60.1, PATIENCE, anybody=True)
    assert found
    assert "did not start" in found[1]
