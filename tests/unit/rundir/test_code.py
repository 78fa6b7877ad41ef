"""Which code ran: from real git repositories, and without git."""

import json
import subprocess
from pathlib import Path

import pytest

from slurmkit.rundir.code import MAX_DIFF_BYTES, capture_code, write_code
from slurmkit.rundir.layout import RunDir

_GIT = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]


def _git(folder: Path, *args: str) -> None:
    subprocess.run([*_GIT, *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    _git(folder, "init", "--initial-branch=work")
    (folder / "train.py").write_text("print(1)\n")
    _git(folder, "add", "train.py")
    _git(folder, "commit", "-m", "first")
    return folder


def test_a_clean_repository(repository: Path) -> None:
    version, diff = capture_code(repository)
    assert len(version.commit) == 40
    assert (version.branch, version.dirty, version.problem) == ("work", False, "")
    assert diff == b""


def test_changes_of_tracked_files_alone(repository: Path) -> None:
    (repository / "train.py").write_text("print(2)\n")
    (repository / ".env").write_text("TOKEN=s3cret\n")
    version, diff = capture_code(repository)
    assert version.dirty
    assert b"+print(2)" in diff
    assert b"s3cret" not in diff


def test_secrets_in_tracked_files_are_redacted(repository: Path) -> None:
    (repository / "train.py").write_text("token = 's3cret'\nother = 'line-one\nline-two'\n")
    _, diff = capture_code(repository, redact=["s3cret", "line-one\nline-two"])
    assert b"***" in diff
    for part in (b"s3cret", b"line-one", b"line-two"):
        assert part not in diff


def test_a_long_diff_is_cut(repository: Path) -> None:
    (repository / "train.py").write_text("x = 1\n" * 1_000_000)
    version, diff = capture_code(repository)
    assert version.diff_truncated
    assert version.diff_bytes == len(diff) == MAX_DIFF_BYTES
    assert version.problem == ""


def test_a_detached_head_and_a_subfolder(repository: Path) -> None:
    _git(repository, "checkout", "--detach")
    (repository / "sub").mkdir()
    version, _ = capture_code(repository / "sub")
    assert version.commit
    assert version.branch == ""


def test_no_repository_is_no_error(tmp_path: Path) -> None:
    version, diff = capture_code(tmp_path)
    assert (version.commit, version.dirty, diff) == ("", None, b"")
    assert "not a git repository" in version.problem


def test_no_git_is_no_error(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    version, _ = capture_code(repository)
    assert version.commit == ""
    assert version.problem.startswith("git: ")


def test_a_slow_git_is_given_up(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    version, _ = capture_code(repository, timeout_s=0.3)
    assert version.problem == "git rev-parse took too long"


def test_a_hooks_git_dir_does_not_mislead(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert capture_code(repository)[0].commit


def test_written_beside_the_run(repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("print(3)\n")
    run = RunDir.create(tmp_path / "root", "name")
    write_code(run, *capture_code(repository))
    assert json.loads(run.code_path.read_text())["dirty"] is True
    assert "+print(3)" in run.diff_path.read_text()
