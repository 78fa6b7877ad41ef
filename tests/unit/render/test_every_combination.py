"""Scripts of every valid kind, launcher, software, container and array, before real tools."""

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from slurmkit.check.scripts import directives_after_command
from slurmkit.plan.environment import why_not_settable

_KINDS = [
    ("torch", "srun"),
    ("torch", "torchrun"),
    ("mpi", "srun"),
    ("mpi", "mpirun"),
    ("command", "srun"),
]
_SOFTWARE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "modules": {"modules": ["gcc/13", "cuda"]},
    "venv": {"venv": "my venv"},
    "conda": {"conda": "env"},
    "conda-folder": {"conda": "~/envs/it's"},
    "setup": {"setup": ["ulimit -n 4096", "echo ready"]},
    "all": {"modules": ["gcc"], "venv": "venv", "setup": ["echo ready"]},
}
_CONTAINERS: dict[str, dict[str, Any]] = {
    "bare": {},
    "pyxis": {"container": {"image": "a.sqsh", "runtime": "pyxis", "mounts": ["/data"]}},
    "apptainer": {"container": {"image": "a b.sif", "runtime": "apptainer"}},
}
_ELEMENTS: dict[str, dict[str, Any]] = {
    "single": {},
    "array": {"array": "0-9%2"},
    "sweep": {"sweep": {"lr": [0.1, 0.2], "name": ["it's", 'say "$x"', "`a`\n\\"]}},
}
_FORMS: dict[str, dict[str, Any]] = {
    "submitted": {},
    "plain": {"run_dir": None},
    "portable": {"portable": True},
}
_RICH = {
    "env": {"A": "a b", "QUOTES": 'it\'s "$5" `id` \\', "LINES_": "1\n2\r3"},
    "secrets": ["HF_TOKEN"],
    "checkpoint": {"levels": ["nvme", "shared"]},
    "resilience": ["shrink", "successor", "requeue"],
}


def _combinations() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    parts = itertools.product(_KINDS, _SOFTWARE, _CONTAINERS, _ELEMENTS, _FORMS)
    for (kind, launcher), software, container, elements, form in parts:
        if launcher == "mpirun" and container == "pyxis":
            continue
        swept = "{sweep.name}-{sweep.lr}" if elements == "sweep" else "x"
        job = {
            "resources": {"nodes": 2, "gpus_per_node": 2},
            "launch": {
                "kind": kind,
                "launcher": launcher,
                "command": ["python", "a b.py", swept],
            },
            "software": _SOFTWARE[software] | _CONTAINERS[container],
            **_ELEMENTS[elements],
            **(_RICH if software != "nothing" else {}),
        }
        name = "_".join([kind, launcher, software, container, elements, form])
        yield name, job, _FORMS[form]


@pytest.fixture(scope="module")
def scripts(
    script: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scripts")
    paths = {}
    for name, job, options in _combinations():
        paths[name] = folder / f"{name}.sbatch"
        paths[name].write_text(script(job, **options))
    return paths


# 11 is prime to the size of every dimension, so that each value meets each other one.
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.long)])
def test_shellcheck_finds_nothing(scripts: dict[str, Path], step: int) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (apt-get install shellcheck)")
    distinct = list({path.read_text(): path for path in scripts.values()}.values())
    assert _run(["shellcheck", "--norc", *map(str, distinct[::step])]) == ""


def test_bash_can_parse_them(scripts: dict[str, Path]) -> None:
    assert "".join(_run(["bash", "-n", str(path)]) for path in scripts.values()) == ""


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    return done.stdout + done.stderr


def test_directives_come_first_and_no_line_is_long(scripts: dict[str, Path]) -> None:
    for name, path in scripts.items():
        text = path.read_text()
        assert text.startswith("#!/bin/bash\n#SBATCH "), name
        assert directives_after_command(text) == [], name
        assert "\r" not in text, name
        assert "\n\n\n" not in text, name
        assert text.endswith("\n"), name
        assert not [line for line in text.splitlines() if line != line.rstrip()], name


def test_only_scripts_that_are_not_portable_need_slurmkit(scripts: dict[str, Path]) -> None:
    for name, path in scripts.items():
        assert ("slurmkit" in path.read_text().lower()) != name.endswith("_portable"), name


def test_no_variable_of_the_script_hides_one_of_the_job(scripts: dict[str, Path]) -> None:
    """What a script assigns without ``export`` would replace a job's variable of that name."""
    assigned: set[str] = set()
    for path in scripts.values():
        text = re.sub(r"start_task='[^']*'", "start_task=x", path.read_text())
        assigned |= set(re.findall(r"^ *(?!export)([A-Za-z_]\w*)=", text, re.MULTILINE))
        assigned |= set(re.findall(r"\bfor (?:\(\()?(\w+)", text))
    free = {name for name in assigned if not why_not_settable(name)}
    assert free == {"MASTER_PORT"}  # exported below, and reserved in job files


@settings(max_examples=30)
@given(st.data())
def test_the_same_job_gives_the_same_script(script: Callable[..., str], data: DataObject) -> None:
    _, job, options = data.draw(st.sampled_from(list(_combinations())))
    assert script(job, **options) == script(job, **options)
