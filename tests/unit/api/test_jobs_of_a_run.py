"""A run that several jobs went on with one after another: its status, its logs, its end."""

import json
from pathlib import Path
from typing import Any

import pytest

from slurmkit.api.run import Run
from slurmkit.cli import show
from slurmkit.errors import UsageError
from slurmkit.rundir import jobs
from slurmkit.rundir.layout import ElementDir, RunDir
from slurmkit.rundir.ledger import LedgerWriter
from slurmkit.rundir.lookup import find_run
from slurmkit.rundir.submission import Submission, write_submission
from slurmkit.slurm import JobInfo, JobState


def _submission(*, array: bool = False) -> Submission:
    return Submission("12", "c", "cli", "token", 1000.0, "user1", "h", array)


def _life(element: ElementDir, job_id: str, *events: tuple[str, dict[str, Any]]) -> None:
    writer = LedgerWriter(element, f"{job_id}.0.abc")
    writer.append("incarnation_started", 1, job_id=job_id, nodes="n[1-3]", excluded=[])
    for event, fields in events:
        writer.append(event, 1, **fields)
    writer.close()


def _handed_over(element: ElementDir) -> None:
    _life(
        element,
        "12",
        ("attempt_started", {"nodes": "n[1-3]", "step_nodes": ["n1", "n2"], "job_id": "12"}),
        ("first_step", {"step": 0, "restored": None}),
        ("checkpoint_committed", {"step": 40, "size_bytes": 1, "save_s": 1, "stall_s": 0}),
        ("progress", {"step": 47, "epoch": 0}),
        ("node_excluded", {"host": "n2", "reason": "silent"}),
        ("attempt_ended", {"exit_code": 75, "state": "failed"}),
        ("decision", {"action": "successor", "reason": "", "excluded": ["n2"]}),
        ("successor_submitted", {"job_id": "19", "exclude": ["n2"]}),
    )


def test_the_status_is_that_of_the_newest_job(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    _handed_over(run_dir.element())
    old = JobInfo(12, state=JobState.FAILED, exit_code=75)
    new = JobInfo(19, state=JobState.PENDING, reason="Resources")
    run = Run(run_dir, _submission(), None)
    status = run.status_from([old, new])
    assert run.job_ids() == ["12", "19"]
    assert (status.state, status.done, status.job_id) == ("PENDING", False, "19")
    element = status.elements[0]
    assert (element.jobs, element.attempts, element.restarts) == (["12", "19"], 1, 0)
    assert (element.step, element.committed_step) == (47, 40)
    assert (element.spares, element.excluded) == ("n3", "n2")


def test_the_status_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    _handed_over(run_dir.element())
    run = Run(run_dir, _submission(), None)
    show.print_status(run.status_from([JobInfo(19, state=JobState.RUNNING, nodes="n[1,3-4]")]))
    said = capsys.readouterr().out
    assert "job       19, after 12" in said
    assert "step      47, newest checkpoint at 40" in said
    assert "excluded  n2" in said


def test_each_element_of_an_array_has_jobs_of_its_own(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    _handed_over(run_dir.element(3))
    _life(run_dir.element(4), "12")
    known = [
        JobInfo(13, array_job_id=12, array_task=3, state=JobState.FAILED),
        JobInfo(14, array_job_id=12, array_task=4, state=JobState.RUNNING),
        JobInfo(20, array_job_id=19, array_task=3, state=JobState.PENDING),
    ]
    status = Run(run_dir, _submission(array=True), None).status_from(known)
    states = {element.task: (element.state, element.jobs) for element in status.elements}
    assert states == {3: ("PENDING", ["12", "19"]), 4: ("RUNNING", ["12"])}
    assert (status.state, status.job_id) == ("RUNNING", "12")


def test_a_successor_that_only_an_agent_knows_of_is_found(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    _life(run_dir.element(), "12")
    folder = run_dir.path / "control"
    folder.mkdir()
    (folder / "successor-12.0.abc.json").write_text(json.dumps({"job_id": "21", "host": "n3"}))
    (folder / "successor-21.0.abc.json").write_text(json.dumps({"host": "n3", "pid": 1}))
    assert jobs.successors(run_dir.element()) == ["21"]


def test_a_run_is_found_by_any_of_its_jobs(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    write_submission(run_dir, _submission())
    _handed_over(run_dir.element())
    RunDir.create(tmp_path, "other")
    assert find_run(tmp_path, "19") == run_dir
    assert find_run(tmp_path, "12") == run_dir


def test_logs_are_those_of_all_jobs_and_the_last_lines_those_of_the_newest(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    logs = run_dir.element().logs_dir
    (logs / "slurm-9.out").write_text("first\n")
    (logs / "slurm-12.out").write_text("second\nthird\n")
    run = Run(run_dir, _submission(), None)
    assert b"".join(run.logs()) == b"first\nsecond\nthird\n"
    assert b"".join(run.logs(lines=1)) == b"third\n"


def test_only_what_slurmkit_submitted_can_be_resumed(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    with pytest.raises(UsageError, match="was not submitted by slurmkit"):
        Run(run_dir, _submission(), None).resume()


def test_a_cancelled_run_is_not_started_again_by_itself(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "demo")
    _life(run_dir.element(3), "12")
    jobs.mark_cancelled(run_dir)
    assert jobs.is_cancelled(run_dir, 3)
    assert jobs.is_cancelled(run_dir, 7), "also elements that have not started yet"
    jobs.unmark_cancelled(run_dir)
    assert not jobs.is_cancelled(run_dir, 3)
    assert not jobs.is_cancelled(run_dir, None)
