"""States of runs, from what Slurm says and what the ledger remembers."""

from pathlib import Path

import pytest

from slurmkit.api.history import first_failure, read_history
from slurmkit.api.run import Run
from slurmkit.api.status import overall_state
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import LedgerWriter, Record, read_ledger
from slurmkit.rundir.secretfile import read_secrets, write_secrets
from slurmkit.rundir.submission import Submission
from slurmkit.slurm import JobInfo, JobState


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["COMPLETED"], "COMPLETED"),
        (["COMPLETED", "FAILED"], "FAILED"),
        (["COMPLETED", "RUNNING", "FAILED"], "RUNNING"),
        (["PENDING", "PENDING"], "PENDING"),
        (["COMPLETED", "PENDING"], "RUNNING"),
        (["REQUEUED"], "REQUEUED"),
        (["COMPLETING", "COMPLETED"], "COMPLETING"),
        (["UNKNOWN"], "UNKNOWN"),
        (["TIMEOUT", "COMPLETED"], "TIMEOUT"),
    ],
)
def test_the_overall_state_of_elements(states: list[str], expected: str) -> None:
    assert overall_state(states) == expected


def _exit(seq: int, rank: int, **fields: object) -> Record:
    return Record(seq, 0.0, "task_exited", 1, "1.0.x", {"rank": rank, "host": "n1", **fields})


def test_the_first_failure_is_the_cause_and_not_who_was_killed_for_it() -> None:
    records = [
        _exit(1, 3, exit_code=7, reason="ValueError: boom", consequence=False),
        _exit(2, 0, signal="SIGTERM", consequence=True),
    ]
    failure = first_failure(records)
    assert failure is not None
    assert (failure.rank, failure.exit_code, failure.reason) == (3, 7, "ValueError: boom")
    assert first_failure(records[1:]) is None


def _submission(job_id: str = "12", *, array: bool = False) -> Submission:
    return Submission(job_id, "c", "cli", "token", 1000.0, "u", "h", array)


def test_a_job_that_slurm_has_forgotten_is_told_by_its_ledger(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    writer = LedgerWriter(run_dir.element(), "12.0.abc")
    writer.append("attempt_started", 1, nodes="n[1-2]")
    writer.append("attempt_ended", 1, exit_code=3, state="FAILED")
    writer.close()
    status = Run(run_dir, _submission(), None).status_from([])
    assert (status.state, status.done, status.ok) == ("FAILED", True, False)
    assert (status.elements[0].exit_code, status.elements[0].nodes) == (3, "n[1-2]")


def test_what_slurm_says_now_wins_over_an_earlier_attempt(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    writer = LedgerWriter(run_dir.element(), "12.0.abc")
    writer.append("attempt_started", 1)
    writer.append("attempt_ended", 1, exit_code=3, state="FAILED")
    writer.close()
    job = JobInfo(12, state=JobState.RUNNING, nodes="n1")
    status = Run(run_dir, _submission(), None).status_from([job])
    assert (status.state, status.done) == ("RUNNING", False)


def test_secrets_that_a_job_could_not_remove_are_removed_once_it_has_ended(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    write_secrets(run_dir.path, {"TOKEN": "hush"})
    run = Run(run_dir, _submission(), None)
    run.status_from([JobInfo(12, state=JobState.RUNNING)])
    assert read_secrets(run_dir.path) == {"TOKEN": "hush"}
    run.status_from([JobInfo(12, state=JobState.CANCELLED)])
    assert read_secrets(run_dir.path) is None


def test_elements_of_a_sweep_show_their_values_before_they_start(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    run_dir.plan_path.write_text('{"sweep": {"axes": [["SWEEP_LR", ["0.1", "0.2"]]]}}')
    history = read_history(run_dir)
    assert {task: item.values for task, item in history.items()} == {
        0: {"lr": "0.1"},
        1: {"lr": "0.2"},
    }
    pending = [
        JobInfo(13, array_job_id=12, array_task=task, state=JobState.PENDING) for task in (0, 1)
    ]
    status = Run(run_dir, _submission(array=True), None).status_from(pending)
    assert [(item.task, item.values["lr"], item.state) for item in status.elements] == [
        (0, "0.1", "PENDING"),
        (1, "0.2", "PENDING"),
    ]


def test_reading_a_ledger_that_is_being_written_sees_whole_records(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    writer = LedgerWriter(run_dir.element(), "12.0.abc")
    writer.append("attempt_started", 1)
    with run_dir.element().ledger_path.open("ab") as file:
        file.write(b'{"v":1,"seq":2,"ti')
    assert [record.event for record in read_ledger(run_dir.element().ledger_path)] == [
        "attempt_started"
    ]
    assert read_history(run_dir)[None].attempts == 1
    writer.close()
