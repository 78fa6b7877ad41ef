"""When an attempt hangs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.supervise.hang import HangDetector, HangSettings, settings_of


def running(
    settings: HangSettings, step_s: float = 1.0, steps: int = 100
) -> tuple[HangDetector, float]:
    detector = HangDetector(settings)
    detector.begin(0.0)
    now = 0.0
    for step in range(steps):
        detector.progressed(now, step)
        assert detector.check(now) is None
        now += step_s
    return detector, now - step_s


def test_auto_waits_ten_times_the_99th_percentile() -> None:
    detector, last = running(HangSettings(floor_s=5.0))
    assert detector.check(last + 9.9) is None
    found = detector.check(last + 10.1)
    assert found is not None
    assert (found.limit_s, found.what) == (10.0, "the next step")


def test_auto_has_a_floor() -> None:
    detector, last = running(settings_of("auto"), step_s=0.1)
    assert detector.check(last + 299) is None
    assert detector.check(last + 301) is not None


def test_each_hang_is_said_once_and_the_next_limit_is_longer() -> None:
    detector, last = running(HangSettings(floor_s=5.0))
    assert detector.check(last + 11) is not None
    assert detector.check(last + 999) is None
    detector.begin(0.0)
    detector.progressed(1.0, 100)
    assert detector.check(20.0) is None
    assert detector.check(21.5) is not None


def test_rare_long_pauses_are_learned() -> None:
    detector, now = running(HangSettings(floor_s=5.0), steps=50)
    for step in range(50, 55):
        now += 9.0
        detector.progressed(now, step)
        assert detector.check(now) is None
    assert detector.learned_s() == 90.0


def test_off() -> None:
    detector, last = running(settings_of("off"))
    assert detector.check(last + 1e9) is None


def test_a_duration_is_the_limit_between_steps() -> None:
    detector, last = running(settings_of(20.0))
    assert detector.check(last + 19) is None
    assert detector.check(last + 21) is not None


def test_the_first_step_has_a_budget_of_its_own() -> None:
    detector = HangDetector(settings_of(20.0))
    detector.begin(0.0)
    detector.session(5.0)
    assert detector.check(3000.0) is None
    assert detector.check(3700.0) is not None


@pytest.mark.parametrize(("phase", "budget_s"), [("load", 1800.0), ("save", 1800.0)])
def test_loading_and_saving_have_budgets(phase: str, budget_s: float) -> None:
    detector, last = running(HangSettings(floor_s=5.0))
    detector.phase(last, phase)
    assert detector.check(last + budget_s - 1) is None
    found = detector.check(last + budget_s + 1)
    assert found is not None
    assert phase in found.what or "loading" in found.what


def test_a_slow_file_system_lengthens_the_budget_of_saves() -> None:
    detector, last = running(HangSettings(floor_s=5.0, save_s=10.0))
    detector.phase(last, "save")
    detector.phase(last + 9.0, "run")
    detector.phase(last + 10.0, "save")
    assert detector.check(last + 10.0 + 80.0) is None
    assert detector.check(last + 10.0 + 91.0) is not None


def test_after_a_save_the_next_step_is_waited_for_again() -> None:
    detector, last = running(HangSettings(floor_s=5.0))
    detector.phase(last, "save")
    detector.phase(last + 100, "run")
    assert detector.check(last + 109) is None
    assert detector.check(last + 111) is not None


def test_without_reports_auto_judges_nothing() -> None:
    detector = HangDetector(settings_of("auto"))
    detector.begin(0.0)
    assert detector.check(1e9) is None


def test_without_reports_a_duration_counts_from_the_last_output() -> None:
    detector = HangDetector(settings_of(30.0))
    detector.begin(0.0)
    detector.output(50.0)
    assert detector.check(79.0) is None
    found = detector.check(81.0)
    assert found is not None
    assert found.what == "output of any rank"


def test_output_alone_is_not_judged_in_the_first_seconds() -> None:
    detector = HangDetector(settings_of(10.0))
    detector.begin(100.0)
    detector.output(101.0)  # a warning of an import; the Session is still to come
    assert detector.check(129.0) is None
    assert detector.check(131.0) is not None


def test_nothing_hangs_between_attempts() -> None:
    detector, last = running(settings_of(5.0))
    detector.end()
    assert detector.check(last + 1e6) is None


@given(st.lists(st.floats(0.01, 100.0), min_size=20, max_size=800))
def test_regular_work_is_never_a_hang(gaps: list[float]) -> None:
    """A pause no longer than ten times the floor of what was learned is none."""
    detector = HangDetector(HangSettings(floor_s=100.0))
    detector.begin(0.0)
    now = 0.0
    for step, gap in enumerate(gaps):
        assert detector.check(now + gap) is None
        now += gap
        detector.progressed(now, step)
