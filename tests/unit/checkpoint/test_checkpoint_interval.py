"""How often to save: the optimum is one, and a schedule does what the user wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.checkpoint.interval import (
    DEFAULT_MTBF_S,
    FIRST_SAVE_S,
    LONGEST_S,
    SHORTEST_S,
    Every,
    Schedule,
    daly_s,
    overhead,
    young_s,
)
from slurmkit.errors import UsageError


@given(st.floats(0.01, 600), st.floats(1800, 1e6))
def test_no_other_interval_loses_much_less_than_dalys(save_s, mtbf_s):
    ours = overhead(daly_s(save_s, mtbf_s), save_s, mtbf_s)
    best = min(overhead(daly_s(save_s, mtbf_s) * 1.05**k, save_s, mtbf_s) for k in range(-40, 41))
    assert ours <= best * 1.01 + 1e-9


def test_known_values():
    assert young_s(60, 7200) == pytest.approx(929.5, abs=0.1)
    assert daly_s(60, 7200) == pytest.approx(889.9, abs=0.1)  # near the minimum of the full model
    assert daly_s(9000, 3600) == 3600  # a save takes longer than the job lives
    assert overhead(1, 1, 1e-9) == 1.0
    with pytest.raises(ValueError, match="make no sense"):
        daly_s(1, 0)


@pytest.mark.parametrize(
    ("text", "steps", "seconds"),
    [
        ("auto", 0, 0),
        ("100", 100, 0),
        ("100 steps", 100, 0),
        ("600s", 0, 600),
        ("10m", 0, 600),
        (" 1h 30m ", 0, 5400),
        ("0:30:00", 0, 1800),
    ],
)
def test_what_users_write(text, steps, seconds):
    every = Every.parse(text)
    assert (every.steps, every.seconds) == (steps, seconds)
    assert every.auto == (text == "auto")


@pytest.mark.parametrize("text", ["", "0", "often", "0s", "-5", "UNLIMITED", "1.5", "ten steps"])
def test_what_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match="how often to save"):
        Every.parse(text)


def test_by_steps_a_resumed_run_saves_where_an_undisturbed_one_does():
    schedule = Schedule(Every(steps=10), step=7)
    due = []
    for step in range(7, 41):
        if schedule.due(step, now_s=0):
            due.append(step)
            schedule.begun(step, 0)
    assert due == [10, 20, 30, 40]


def test_by_time_from_the_begin_of_the_last_save():
    schedule = Schedule(Every(seconds=60), start_s=1000)
    assert not schedule.due(1, 1059)
    assert schedule.due(2, 1060)
    schedule.begun(2, 1060)
    assert not schedule.due(2, 2000)  # the same step is not saved twice
    assert not schedule.due(3, 1119)
    assert schedule.due(3, 1120)


def test_a_failed_save_is_tried_again_after_an_interval():
    schedule = Schedule(Every(seconds=60))
    schedule.begun(1, 60)
    schedule.failed(70)
    assert not schedule.due(2, 129)
    assert schedule.due(2, 130)


def test_auto_learns_what_a_save_costs():
    schedule = Schedule(Every(), mtbf_s=7200)
    assert schedule.interval_s == FIRST_SAVE_S
    schedule.finished(stall_s=60, save_s=60)
    assert schedule.interval_s == pytest.approx(daly_s(60, 7200))
    schedule.finished(stall_s=0, save_s=60)
    assert schedule.interval_s == pytest.approx(daly_s(30, 7200))


@given(st.floats(0, 1e5), st.floats(0, 500), st.floats(60, 1e7))
def test_auto_stays_within_its_bounds(stall_s, save_s, mtbf_s):
    schedule = Schedule(Every(), mtbf_s=mtbf_s)
    schedule.finished(stall_s, save_s)
    assert schedule.interval_s is not None
    assert max(SHORTEST_S, save_s) <= schedule.interval_s <= LONGEST_S


def test_without_a_record_of_failures_a_guess_serves():
    assert Schedule(Every()).mtbf_s == DEFAULT_MTBF_S
    assert Schedule(Every(), mtbf_s=0).mtbf_s == DEFAULT_MTBF_S
