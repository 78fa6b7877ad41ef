"""Every second of a run is in one class, and in the right one."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.observe.accounting import CLASSES, spans
from slurmkit.observe.attempts import read_history
from slurmkit.observe.report import report_element
from slurmkit.rundir.ledger import Record

_FAILURES = st.sampled_from(["node", "hang", "transient", "application"])
_ATTEMPTS = st.lists(
    st.tuples(
        st.integers(1, 120),  # steps before it fails
        _FAILURES,
        st.booleans(),  # whether another job goes on
        st.floats(0.5, 60.0),  # start-up
        st.floats(0.0, 300.0),  # in the queue
    ),
    max_size=6,
)
_PACE = st.tuples(st.floats(0.05, 3.0), st.integers(1, 40), st.floats(0.0, 0.02), st.floats(0, 0.1))


def _simulate(simulation: Any, pace: Any, attempts: Any, last_steps: int) -> Any:
    step_s, every, stall_s, behind_s = pace
    run = simulation(step_s=step_s, every=every, stall_s=stall_s, save_s=stall_s + behind_s)
    run.new_life()
    for steps, kind, handed_over, startup_s, queued_s in attempts:
        run.start(startup_s)
        last = (run.committed or 0) + steps
        run.train(steps, kept=last // every * every)
        run.spend("lost", 3.0)
        run.fail(kind)
        run.decide("successor" if handed_over else "relaunch")
        if handed_over:
            run.new_life(queued_s)
        else:
            run.spend("restart", 0.5)
    run.start()
    run.train(last_steps)
    run.complete()
    return run


@given(_PACE, _ATTEMPTS, st.integers(1, 100))
@settings(max_examples=200, deadline=None)
def test_the_parts_are_the_truth_and_add_up(
    simulation: Any, pace: Any, attempts: Any, last_steps: int
) -> None:
    run = _simulate(simulation, pace, attempts, last_steps)
    report = report_element(run.sorted())
    time, wall_s = report.time, run.now - run.begin
    assert time.wall_s == pytest.approx(wall_s, abs=0.2)
    parts = [getattr(time, f"{kind}_s") for kind in CLASSES]
    assert sum(parts) == pytest.approx(time.wall_s, rel=1e-6)
    for kind, part in zip(CLASSES, parts, strict=True):
        # A checkpoint counts a little after its save began, and steps are told every ten seconds.
        assert part == pytest.approx(run.truth[kind], abs=0.01 * wall_s + 0.2), kind
    assert report.state == "completed"
    assert report.restarts == len(attempts)
    assert sum(report.failures.values()) == len(attempts)


@given(_PACE, _ATTEMPTS, st.integers(1, 100), st.data())
@settings(max_examples=100, deadline=None)
def test_any_beginning_of_a_ledger_has_no_gaps_and_no_overlaps(
    simulation: Any, pace: Any, attempts: Any, last_steps: int, data: st.DataObject
) -> None:
    records = _simulate(simulation, pace, attempts, last_steps).sorted()
    part = records[: data.draw(st.integers(0, len(records)))]
    found = spans(read_history(part))
    assert all(a.end == pytest.approx(b.start, abs=1e-6) for a, b in pairwise(found))
    assert all(span.length_s > 0 for span in found)
    if found:
        assert found[-1].end <= part[-1].time + 1e-6


_EVENTS = st.sampled_from(
    [
        "incarnation_started",
        "attempt_started",
        "attempt_ended",
        "first_step",
        "progress",
        "checkpoint_committed",
        "failure",
        "decision",
        "node_lost",
        "run_completed",
    ]
)
_RECORDS = st.lists(
    st.tuples(_EVENTS, st.integers(1, 3), st.integers(1, 2), st.integers(0, 50), st.floats(0, 99)),
    max_size=30,
)


@given(_RECORDS)
@settings(max_examples=200, deadline=None)
def test_no_ledger_is_so_odd_that_the_parts_do_not_add_up(rows: Any) -> None:
    records = [
        Record(seq, time, event, attempt, f"job.{life}.x", _fields(event, step, attempt))
        for seq, (event, attempt, life, step, time) in enumerate(rows, start=1)
    ]
    time = report_element(records).time
    parts = [getattr(time, f"{kind}_s") for kind in CLASSES]
    assert all(part >= 0 for part in parts)
    assert sum(parts) == pytest.approx(time.wall_s, rel=1e-6, abs=1e-6)


def _fields(event: str, step: int, attempt: int) -> dict[str, Any]:
    if event == "attempt_ended":
        return {"exit_code": attempt, "state": ("completed", "failed", "requeued")[attempt - 1]}
    if event == "first_step":
        return {"step": step, "restored": None if step % 2 else step}
    if event == "decision":
        return {"action": ("relaunch", "successor", "stop")[attempt - 1]}
    return {"step": step, "save_s": 2.0, "stall_s": 1.0, "size_bytes": 1, "kind": "node"}


def test_a_run_that_failed_for_good_keeps_what_it_saved(simulation: Any) -> None:
    run = simulation(every=10, stall_s=0.0, save_s=0.0)
    run.new_life()
    run.start()
    run.train(25, kept=20)
    run.fail("application")
    run.decide("stop")
    report = report_element(run.sorted())
    assert report.state == "failed"
    assert (report.time.productive_s, report.time.lost_s) == (20.0, 5.0)
    assert (report.step, report.committed_step, report.lost_steps) == (25, 20, 5)
    assert report.time.ettr == pytest.approx(20 / 31)


def test_a_damaged_checkpoint_makes_the_steps_before_it_vain_too(simulation: Any) -> None:
    run = simulation(every=10, stall_s=0.0, save_s=0.0)
    run.new_life()
    run.start()
    run.train(25, kept=10)  # 20 was committed, and turns out to be damaged
    run.committed = 20
    run.note("checkpoint_committed", step=20, size_bytes=1, save_s=0.0, stall_s=0.0)
    run.fail("node")
    run.decide("relaunch")
    run.note("checkpoint_quarantined", step=20, why="digest of rank-00000.bin is wrong")
    run.committed = 10
    run.start()
    run.train(30)
    run.complete()
    report = report_element(run.sorted())
    assert report.time.lost_s == pytest.approx(15.0)
    assert report.lost_steps == 15
    assert report.saves.quarantined == 1


def test_time_to_recover_counts_from_the_first_sign_of_trouble(simulation: Any) -> None:
    run = simulation(every=10, stall_s=0.0, save_s=0.0)
    run.new_life()
    run.start()
    run.train(20)
    run.note("node_lost", host="n2", silent_s=3.0, why="no sign of life")
    run.spend("lost", 1.0)
    run.note("attempt_ended", exit_code=137, state="failed", reason="node failure")
    run.note("failure", kind="node", key="", host="n2", reason="node failure", step=20)
    run.decide("spare")
    run.start(startup_s=4.0)
    run.train(5)
    run.complete()
    report = report_element(run.sorted())
    assert report.mttr_s == pytest.approx(5.0)
    assert report.failures == {"node": 1}


def test_a_program_that_tells_of_no_steps_is_taken_as_a_whole(simulation: Any) -> None:
    run = simulation()
    run.new_life()
    for _ in range(2):
        run.attempt += 1
        run.note("attempt_started", job_id="101", nodes="n[1-2]", host="n1")
        run.now += 100.0
        if run.attempt == 1:
            run.fail("node")
            run.decide("spare")
    run.complete()
    report = report_element(run.sorted())
    assert not report.tracked
    assert (report.time.lost_s, report.time.productive_s) == (100.0, 100.0)
    assert report.step is None


def test_a_run_without_recovery_is_reported_too() -> None:
    records = [
        Record(1, 10.0, "attempt_started", 1, "5.0.a", {"job_id": "5", "nodes": "n1"}),
        Record(2, 11.0, "step_started", 1, "5.0.a", {}),
        Record(3, 70.0, "attempt_ended", 1, "5.0.a", {"exit_code": 1, "state": "failed"}),
    ]
    report = report_element(records)
    assert (report.state, report.time.wall_s, report.time.lost_s) == ("failed", 60.0, 60.0)
    assert report.failures == {"application": 1}
    assert report.jobs == ["5"]


def test_nothing_has_happened_yet() -> None:
    report = report_element([])
    assert (report.state, report.time.wall_s, report.ettr) == ("waiting", 0.0, None)


def test_a_step_that_is_told_again_and_again_is_no_work(simulation: Any) -> None:
    run = simulation(every=10, stall_s=0.0, save_s=0.0)
    run.new_life()
    run.start()
    run.train(20)
    run.spend("lost", 30.0)  # it hangs after step 20, which was saved
    run.note("progress", step=20, epoch=0)
    run.fail("hang")
    run.decide("relaunch")
    run.start()
    run.train(5)
    run.complete()
    time = report_element(run.sorted()).time
    assert (time.productive_s, time.lost_s) == (pytest.approx(25.0), pytest.approx(30.0))
