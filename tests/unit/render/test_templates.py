"""Templates that people write: where they are found, what they can do, how mistakes are told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.errors import InvalidInputError, Problem
from slurmkit.plan.model import Plan
from slurmkit.render.renderer import render
from slurmkit.resources import shipped_dir

MakePlan = Callable[..., Plan]


def _write(folder: Path, text: str, name: str = "command.sbatch.j2") -> Path:
    path = folder / "sbatch" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_first_folder_that_has_the_template_wins(make: MakePlan, tmp_path: Path) -> None:
    job, site, shipped = tmp_path / "job", tmp_path / "site", shipped_dir("templates")
    _write(site, "site of {{ plan.name }}\n")
    assert render(make({}), [job, site, shipped]) == "site of demo\n"
    _write(job, "job of {{ plan.name }}\n")
    assert render(make({}), [job, site, shipped]) == "job of demo\n"
    assert render(make({}), [tmp_path / "none", shipped]) == render(make({}), [])


def test_a_template_can_extend_the_one_it_replaces(make: MakePlan, tmp_path: Path) -> None:
    _write(
        tmp_path,
        '{% extends "shipped/sbatch/command.sbatch.j2" %}\n'
        "{% block prepare %}\n\nulimit -l unlimited\n{% endblock %}\n",
    )
    text = render(make({}), [tmp_path])
    assert text.replace("\nulimit -l unlimited\n", "", 1) == render(make({}), [])


def test_a_replaced_base_serves_all_kinds(make: MakePlan, tmp_path: Path) -> None:
    _write(tmp_path, "{% block launch %}{% endblock %}only {{ plan.kind }}\n", "base.sbatch.j2")
    for kind in ("torch", "mpi", "command"):
        assert "only" in render(make({"launch": {"kind": kind, "command": ["x"]}}), [tmp_path])


def test_templates_see_filters_for_the_shell(make: MakePlan, tmp_path: Path) -> None:
    _write(tmp_path, "{{ 'a b' | quote }} {{ plan.workdir | word }} # {{ 'a\nb' | comment }}\n")
    assert render(make({}), [tmp_path]) == "'a b' /shared/job # a b\n"


def _problem(plan: Plan, folder: Path) -> Problem:
    with pytest.raises(InvalidInputError) as caught:
        render(plan, [folder])
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("one\n{{ plan.name }\n", 2, "template syntax"),
        ("one\ntwo\n{% iff x %}\n", 3, "iff"),
        ("one\n{% block a %}\n", 2, "template syntax"),
        ("one\n{{ plan.nmae }}\n", 2, "nmae"),
        ("one\n\n{{ user }}\n", 3, "'user' is undefined"),
        ("{{ 'x' | shout }}\n", 1, "shout"),
        ("\n\n{{ 1 / 0 }}\n", 3, "division by zero"),
        ("\n{{ plan.name + 1 }}\n", 2, "str"),
        ("\n{{ 'a\\0b' | quote }}\n", 2, "NUL"),
        ('{% extends "sbatch/bse.sbatch.j2" %}\n', 1, "sbatch/bse.sbatch.j2"),
        ("\n{% include 'missing.sh' %}\n", 2, "missing.sh"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    make: MakePlan, tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = _write(tmp_path, text)
    problem = _problem(make({}), tmp_path)
    assert words in problem.message
    assert problem.where is not None
    assert (problem.where.file, problem.where.line) == (str(path), line)


def test_a_mistake_in_an_included_file_is_told_there(make: MakePlan, tmp_path: Path) -> None:
    path = _write(tmp_path, "ulimit\n{{ plan.oops }}\n", "software.sh.j2")
    problem = _problem(make({"software": {"venv": "v"}}), tmp_path)
    assert problem.where is not None
    assert (problem.where.file, problem.where.line) == (str(path), 2)
    assert "plan" in problem.hint


def test_a_template_that_extends_itself_is_a_mistake(make: MakePlan, tmp_path: Path) -> None:
    _write(tmp_path, '{% extends "sbatch/command.sbatch.j2" %}\n')
    assert "recursion" in _problem(make({}), tmp_path).message


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "slurmkit" / "templates"


def test_compiled_templates_are_kept_for_their_owner_only(
    make: MakePlan, cache: Path, tmp_path: Path
) -> None:
    first = render(make({}), [])
    assert list(cache.iterdir())
    assert [path.stat().st_mode & 0o077 for path in [cache, *cache.iterdir()]] == [0] * (
        len(list(cache.iterdir())) + 1
    )
    assert render(make({}), []) == first


def test_a_changed_template_is_compiled_anew(make: MakePlan, cache: Path, tmp_path: Path) -> None:
    _write(tmp_path, "one\n")
    assert render(make({}), [tmp_path]) == "one\n"
    _write(tmp_path, "two\n")
    assert render(make({}), [tmp_path]) == "two\n"


def test_damaged_or_foreign_compiled_templates_are_not_used(make: MakePlan, cache: Path) -> None:
    first = render(make({}), [])
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert render(make({}), []) == first
    for path in cache.iterdir():
        path.write_bytes(b"")
    cache.chmod(0o777)
    assert render(make({}), []) == first


def test_a_folder_that_cannot_be_written_is_no_error(
    make: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for value in (str(tmp_path / "file"), "/proc/nowhere"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert render(make({}), []).startswith("#!/bin/bash")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert render(make({}), []).startswith("#!/bin/bash")
    assert os.listdir(tmp_path / "home") == [".cache"]  # noqa: PTH208
