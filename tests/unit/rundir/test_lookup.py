"""Runs are found by what a user has at hand."""

import os
from pathlib import Path

import pytest

from slurmkit.errors import RunNotFoundError, SlurmkitError
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.lookup import find_job, find_run, list_runs
from slurmkit.rundir.submission import Submission, index_path, read_submission, write_submission


def _run(root: Path, name: str, run_id: str, job_id: str | None = None) -> RunDir:
    run = RunDir.create(root, name, run_id)
    if job_id:
        write_submission(run, Submission(job_id, "c", "cli", run_id, 1.0, "me", "login"))
    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    _run(tmp_path, "llama", "20260101-000000-aaaaaa", "11")
    _run(tmp_path, "llama", "20260102-000000-bbbbbb", "12")
    _run(tmp_path, "my job", "20260103-000000-cccccc", "13")
    _run(tmp_path, "rendered", "job-14")
    (tmp_path / "not-a-run").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        ("llama", "20260102-000000-bbbbbb"),
        ("20260101-000000-aaaaaa", "20260101-000000-aaaaaa"),
        ("11", "20260101-000000-aaaaaa"),
        ("12_3", "20260102-000000-bbbbbb"),
        ("my job", "20260103-000000-cccccc"),
        ("14", "job-14"),
    ],
)
def test_found(root: Path, text: str, run_id: str) -> None:
    assert find_run(root, text).run_id == run_id


def test_found_by_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = find_run(root, "llama")
    assert find_run(Path("/none"), str(run.path)) == run
    monkeypatch.chdir(run.path)
    assert find_run(Path("/none"), ".") == run
    with pytest.raises(RunNotFoundError, match="not a run directory"):
        find_run(root, str(root / "not-a-run"))


def test_the_newest_comes_first(root: Path) -> None:
    os.utime(root / "rendered" / "job-14", (0, 0))
    assert [run.run_id for run in list_runs(root)] == [
        "20260103-000000-cccccc",
        "20260102-000000-bbbbbb",
        "20260101-000000-aaaaaa",
        "job-14",
    ]
    assert len(list_runs(root, "llama")) == 2
    assert list_runs(root / "none") == []


def test_a_typing_error_gets_a_suggestion(root: Path) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        find_run(root, "lama")
    assert "llama" in caught.value.hint


def test_a_lost_or_wrong_index_only_costs_a_search(root: Path) -> None:
    index_path(root, "11").unlink()
    index_path(root, "12").write_text("/nonsense\n")
    assert find_job(root, "11") == find_run(root, "20260101-000000-aaaaaa")
    assert find_job(root, "12") == find_run(root, "20260102-000000-bbbbbb")
    assert find_job(root, "99") is None


def test_of_a_job_id_used_twice_the_newest_counts(root: Path) -> None:
    index_path(root, "11").unlink()
    newer = _run(root, "other", "20270101-000000-dddddd", "11")
    index_path(root, "11").unlink()
    assert find_job(root, "11") == newer


def test_a_damaged_record_hides_no_other_run(root: Path) -> None:
    damaged = find_run(root, "my job")
    damaged.submission_path.write_text("{")
    index_path(root, "11").unlink()
    assert find_job(root, "11") is not None
    with pytest.raises(SlurmkitError, match="not a submission record"):
        read_submission(damaged)


def test_submission_comes_back(root: Path) -> None:
    submission = read_submission(find_run(root, "llama"))
    assert submission is not None
    assert (submission.job_id, submission.backend, submission.array) == ("12", "cli", False)
    assert read_submission(find_run(root, "14")) is None
