"""Where a program is to go on from, and the file that says that its end is near."""

from pathlib import Path

import pytest

from slurmkit.checkpoint.commands import begin_folder, commit_folder
from slurmkit.checkpoint.fence import write_fence
from slurmkit.supervise.restart import RESTART_VARIABLE, restart_dir, warning_path, write_warning

ASKED = {RESTART_VARIABLE: "", "PATH": "/usr/bin:/bin"}


def save(folder: Path, step: int, token: str | None = None) -> Path:
    (begin_folder(folder, step, token=token) / "state").write_text(f"state {step}")
    commit_folder(folder, step, token=token)
    return folder / f"step-{step:010d}"


def test_nobody_asks(tmp_path: Path) -> None:
    save(tmp_path / "ckpt", 3)
    assert restart_dir(tmp_path / "ckpt", None, {}, print) is None


def test_at_the_first_start_there_is_nothing(tmp_path: Path) -> None:
    assert restart_dir(tmp_path / "ckpt", None, ASKED, print) == ""
    (tmp_path / "ckpt").mkdir()
    assert restart_dir(tmp_path / "ckpt", None, ASKED, print) == ""


def test_the_newest_is_taken_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "ckpt"
    write_fence_of(folder, "life/1")
    first, second = save(folder, 10, "life/1"), save(folder, 20, "life/1")
    write_fence_of(folder, "life/2")
    assert restart_dir(folder, "life/2", ASKED, print) == str(second)
    (second / "state").write_text("state 2x")
    assert restart_dir(folder, "life/2", ASKED, print) == str(first)
    assert [path.name for path in (folder / "quarantine").iterdir()] == ["step-0000000020-1"]


def test_a_stale_attempt_is_told_so(tmp_path: Path) -> None:
    folder = tmp_path / "ckpt"
    write_fence_of(folder, "life/1")
    step = save(folder, 10, "life/1")
    write_fence_of(folder, "life/2")
    (step / "state").write_text("broken")
    with pytest.raises(OSError, match="attempt life/2 has taken over"):
        restart_dir(folder, "life/1", ASKED | {"SLURMKIT_FENCE": "life/2"}, print)
    assert step.exists(), "it may not put anything into quarantine"


def write_fence_of(folder: Path, token: str) -> None:
    folder.mkdir(exist_ok=True)
    write_fence(folder, token)


@pytest.mark.parametrize(("deadline", "second"), [(1_800_000_000.4, "1800000000"), (None, "")])
def test_the_warning_says_why_and_until_when(
    tmp_path: Path, deadline: float | None, second: str
) -> None:
    write_warning(tmp_path, "the time limit", deadline)
    path = Path(warning_path(tmp_path))
    assert path.read_text() == f"the time limit\n{second}\n"
    write_warning(tmp_path, "SIGTERM", None)
    assert path.read_text().startswith("the time limit")


def test_a_warning_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    write_warning(tmp_path / "gone", "the time limit", None)
