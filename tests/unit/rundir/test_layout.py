"""Paths of a run: safe for any name, and never two names in one folder."""

import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.rundir.layout import ElementDir, RunDir, new_run_id, path_component

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@given(st.text(max_size=300))
def test_every_name_is_a_safe_folder(name: str) -> None:
    folder = path_component(name)
    assert _SAFE.fullmatch(folder)
    assert len(folder) <= 100


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_names_never_share_a_folder(one: str, other: str) -> None:
    assert (path_component(one) == path_component(other)) == (one == other)


def test_plain_names_stay() -> None:
    for name in ("llama-finetune", "a.b_c-1", "x"):
        assert path_component(name) == name


def test_run_ids_sort_by_time_and_differ() -> None:
    assert new_run_id(0).startswith("19700101-000000-")
    assert len({new_run_id(0) for _ in range(100)}) == 100
    assert new_run_id(1) > new_run_id(0)


def test_a_new_run_is_for_its_owner_alone(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "root", "my job/ü")
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert run.run_root == tmp_path / "root"
    assert run.element().logs_dir.is_dir()
    assert run.element().rendezvous_dir.is_dir()


def test_a_run_id_cannot_lead_elsewhere(tmp_path: Path) -> None:
    for run_id in ("../x", "a/b", "", ".."):
        with pytest.raises(UsageError):
            RunDir.create(tmp_path, "name", run_id)


def test_an_impossible_root_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SlurmkitError, match="cannot make the run directory") as caught:
        RunDir.create(tmp_path / "file", "name")
    assert "run root" in caught.value.hint


def test_attempts_count_up(tmp_path: Path) -> None:
    element = ElementDir(tmp_path / "array" / "3")
    assert element.attempts() == []
    assert [element.new_attempt() for _ in range(3)] == [1, 2, 3]
    (element.logs_dir / "attempt-x").mkdir()
    assert element.attempts() == [1, 2, 3]
    assert element.rank_log_path(2, 7).name == "rank-00007.log"


def test_elements_of_an_array(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert list(run.elements()) == [None]
    for task in (10, 2):
        run.element(task).new_attempt()
    assert list(run.elements()) == [2, 10]
