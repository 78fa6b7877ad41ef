"""What a file extends, and what --set changes of it."""

import contextlib
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.errors import InvalidInputError
from slurmkit.spec.loader import Job
from slurmkit.spec.models import Resources, Sweep

_FILES = runpy.run_path(str(Path(__file__).with_name("job_files.py")))
NEEDED: str = _FILES["NEEDED"]
reuse_tmp_path = _FILES["reuse_tmp_path"]
ENV_TEXT = _FILES["ENV_TEXT"]
write: Callable[..., Path] = _FILES["write"]
loaded: Callable[..., Job] = _FILES["loaded"]


# extends.


def test_extends_merges_mappings_and_replaces_the_rest(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    write(
        tmp_path,
        "resources: {nodes: 2, partition: gpu}\nenv: {A: base, B: base}\n"
        "software: {modules: [a, b]}\nextends: more.yaml\n",
        "shared/base.yaml",
    )
    write(tmp_path, "resources: {qos: high, nodes: 9}\nenv: {C: more}\n", "shared/more.yaml")
    write(tmp_path, "env: {B: other}\nname: other\n", "other.yaml")
    job = loaded(
        tmp_path,
        "extends: [shared/base.yaml, other.yaml]\nresources: {nodes: 4, partition: }\n"
        "software: {modules: [c]}\n",
    )
    spec = job.spec
    assert (spec.name, spec.resources.nodes, spec.resources.qos) == ("demo", 4, "high")
    assert spec.resources.partition is None
    assert spec.env == {"C": "more", "A": "base", "B": "other"}
    assert spec.software.modules == ["c"]
    assert [path.name for path in job.files] == [
        "more.yaml",
        "base.yaml",
        "other.yaml",
        "job.yaml",
    ]
    assert str(job.source.locate("env.A")).endswith("shared/base.yaml:2:10")
    assert "extends" not in job.resolved_yaml()


def test_a_mistake_in_a_base_is_named_there(tmp_path: Path) -> None:
    write(tmp_path, "resources:\n  nodez: 2\n", "base.yaml")
    with pytest.raises(InvalidInputError) as caught:
        loaded(tmp_path, "extends: base.yaml")
    where = caught.value.problems[0].where
    assert where is not None
    assert (Path(where.file).name, where.line, where.column) == ("base.yaml", 2, 3)


def test_a_circle_is_shown(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml", "a.yaml")
    write(tmp_path, "extends: [job.yaml]", "b.yaml")
    with pytest.raises(InvalidInputError, match=r"job\.yaml -> a\.yaml -> b\.yaml -> job\.yaml"):
        loaded(tmp_path, "extends: a.yaml")


def test_a_long_chain_ends(tmp_path: Path) -> None:
    write(tmp_path, "{}", "f0.yaml")
    for level in range(1, 300):
        write(tmp_path, f"extends: f{level - 1}.yaml", f"f{level}.yaml")
    assert len(loaded(tmp_path, "extends: f40.yaml").files) == 42
    with pytest.raises(InvalidInputError, match="more than 64 files"):
        loaded(tmp_path, "extends: f299.yaml")


def test_bases_that_double_each_other_end(tmp_path: Path) -> None:
    write(tmp_path, "{}", "f0.yaml")
    for level in range(1, 12):
        write(tmp_path, f"extends: [f{level - 1}.yaml, f{level - 1}.yaml]", f"f{level}.yaml")
    with pytest.raises(InvalidInputError, match="more than 64 files"):
        loaded(tmp_path, "extends: f11.yaml")


# --set.


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("resources.nodes=4", "resources.nodes", 4),
        ("resources.exclusive=true", "resources.exclusive", True),
        ("resources.time=1:30:00", "resources.time", "1:30:00"),
        ("resources.partition=", "resources.partition", None),
        ("resources.partition=010", "resources.partition", "010"),
        ("resources.gpus_per_node=h100:8", "resources.gpus_per_node", "h100:8"),
        ("name=other name", "name", "other name"),
        ("launch.command=[a, 'b c', 1e-4]", "launch.command", ["a", "b c", "1e-4"]),
        ("launch.command.1=eval.py --x: [", "launch.command", ["python", "eval.py --x: ["]),
        ("launch.command.1=", "launch.command", ["python", ""]),
        ("env.X=a=b, c: {d}", "env", {"X": "a=b, c: {d}"}),
        ("env.X=null", "env", {"X": "null"}),
        ("env.X=", "env", {"X": ""}),
        ("env={A: 1e-4}", "env", {"A": "1e-4"}),
        ("software.setup=ulimit -n 9", "software.setup", ["ulimit -n 9"]),
        ("software.setup=[a, b]", "software.setup", ["a", "b"]),
        ("software.container.image=a.sif", "software.container.image", "a.sif"),
        ("checkpoint.async=false", "checkpoint.async_", False),
        ("sbatch=[--hold]", "sbatch", ["--hold"]),
        ("array=0-9%2", "array.limit", 2),
        ("array.indices=0-9", "array.indices", "0-9"),
        ("sweep.lr=[1, 2]", "sweep.matrix", {"lr": ["1", "2"]}),
        (" resources . nodes =4", "resources.nodes", 4),
    ],
)
def test_set(tmp_path: Path, override: str, key: str, expected: object) -> None:
    value: object = loaded(tmp_path, "", override).spec
    for part in key.split("."):
        value = getattr(value, part)
    assert value == expected


def test_later_overrides_win_and_build_on_each_other(tmp_path: Path) -> None:
    spec = loaded(
        tmp_path,
        "sweep: {lr: [a]}",
        "sweep.limit=1",
        "sweep.limit=3",
        "sweep.seed=[1, 2]",
        "env.A=1",
        "env.B=2",
        "resources.nodes=8",
    ).spec
    assert spec.sweep == Sweep(matrix={"lr": ["a"], "seed": ["1", "2"]}, limit=3)
    assert spec.env == {"A": "1", "B": "2"}
    assert spec.resources == Resources(nodes=8)


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("resources.nodes", "bad-override", "is not KEY=VALUE"),
        ("=4", "bad-override", "is not KEY=VALUE"),
        ("resources..nodes=4", "bad-override", "is not KEY=VALUE"),
        ("resources.node=4", "unknown-key", "Did you mean 'nodes'?"),
        ("nodes=4", "unknown-key", "'nodes' belongs under resources."),
        ("resources.nodes=four", "wrong-type", "at least 1, got 'four'"),
        ("resources.nodes=[", "bad-yaml", "not YAML"),
        ("resources.nodes=\x07", "bad-yaml", "cannot carry"),
        ("launch.command.2=x", "bad-override", "has 2 entries"),
        ("launch.command.x=x", "bad-override", "has 2 entries"),
        ("name.x=y", "bad-override", "Set name as a whole."),
        ("extends=x.yaml", "bad-override", "cannot be set"),
        ("env.1X=a", "bad-name", "not a variable name"),
        ("sbatch=[--export=A]", "refused-option", "cannot be set"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, code: str, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        loaded(tmp_path, "", override)
    problem = caught.value.problems[0]
    assert problem.code == code
    assert str(problem.where) == f"--set {override.partition('=')[0]}"
    assert words in str(problem)


@reuse_tmp_path
@given(name=st.from_regex(r"X[A-Z0-9_]{0,5}", fullmatch=True), value=ENV_TEXT)
def test_set_env_takes_any_text(tmp_path: Path, name: str, value: str) -> None:
    assert loaded(tmp_path, "", f"env.{name}={value}").spec.env == {name: value}


@reuse_tmp_path
@given(override=st.text(max_size=30))
def test_no_override_crashes_the_loader(tmp_path: Path, override: str) -> None:
    with contextlib.suppress(InvalidInputError):
        loaded(tmp_path, "", override)
