"""Silence is measured while we run ourselves; how much is allowed depends on the node."""

from hypothesis import given
from hypothesis import strategies as st

from slurmkit.supervise.agent_liveness import AwakeClock, NodeState, Patience, allowed_s

PATIENCE = Patience(silent_s=3.0, reconnect_s=30.0, start_s=60.0, nobody_s=120.0)


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


def test_a_connected_node_is_lost_after_three_heartbeats() -> None:
    state = NodeState(heard=0.0, connected=True, was_up=True)
    assert allowed_s(state, PATIENCE, anybody=True)[0] == 3.0


def test_an_agent_that_ended_alone_is_given_time_to_come_back() -> None:
    state = NodeState(heard=0.0, connected=False, was_up=True)
    assert allowed_s(state, PATIENCE, anybody=True)[0] == 30.0


def test_a_node_is_not_lost_because_no_agent_can_be_started_anywhere() -> None:
    state = NodeState(heard=0.0, connected=False, was_up=True)
    assert allowed_s(state, PATIENCE, anybody=False)[0] == 120.0


def test_an_agent_that_never_came() -> None:
    limit_s, why = allowed_s(NodeState(heard=0.0), PATIENCE, anybody=True)
    assert limit_s == 60.0
    assert "did not start" in why
