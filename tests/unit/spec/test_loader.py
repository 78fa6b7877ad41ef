"""What a file, what it extends and the command line make together."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmkit.errors import InvalidInputError
from slurmkit.spec.loader import Job, from_spec, load, resolved_yaml
from slurmkit.spec.models import JobSpec, Launch, Resources, Sweep
from slurmkit.spec.sweeps import num_elements, sweep_elements

NEEDED = "name: demo\nlaunch: {command: [python, train.py]}\n"
reuse_tmp_path = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None
)


def write(folder: Path, text: str, name: str = "job.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def loaded(folder: Path, text: str, *overrides: str) -> Job:
    return load(write(folder, NEEDED + text), overrides)


# Texts arrive as they are written.


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1e-4", "1e-4"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("true", "true"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("1:30:00", "1:30:00"),
        ("2026-11-20", "2026-11-20"),
        (".inf", ".inf"),
        ("1.50", "1.50"),
        ("+3", "+3"),
        ('"quoted"', "quoted"),
        ("'null'", "null"),
        ('"null"', "null"),
        ("''", ""),
        ("a,b=c d", "a,b=c d"),
        ("'it''s $HOME'", "it's $HOME"),
        ('"a\\nb\\tc"', "a\nb\tc"),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("|\n    two\n    lines\n", "two\nlines\n"),
        (">-\n    one\n    line\n", "one line"),
        ("ünïcode 🚀", "ünïcode 🚀"),
    ],
)
def test_env_values_are_taken_as_written(tmp_path: Path, written: str, expected: str) -> None:
    assert loaded(tmp_path, f"env:\n  X: {written}").spec.env == {"X": expected}


def test_all_text_fields_take_the_raw_text(tmp_path: Path) -> None:
    spec = load(
        write(
            tmp_path,
            "name: 1e3\n"
            "resources: {partition: 010, qos: true, time: 1:30:00}\n"
            "launch: {command: [run, 1e-4, 010, true, 0.10]}\n"
            "sweep: {lr: [1e-4, 0.10, true]}\n"
            "secrets: [TRUE]\n"
            "after: 0123\n"
            "affinity: off\n"
            "software: {modules: [3.10], setup: 'true'}\n",
        )
    ).spec
    assert spec.name == "1e3"
    assert (spec.resources.partition, spec.resources.qos) == ("010", "true")
    assert spec.resources.time == "1:30:00"
    assert spec.launch.command == ["run", "1e-4", "010", "true", "0.10"]
    assert spec.sweep is not None
    assert spec.sweep.matrix == {"lr": ["1e-4", "0.10", "true"]}
    assert spec.secrets[0].name == "TRUE"
    assert spec.after[0].run == "0123"
    assert spec.affinity is not None
    assert spec.affinity.mode == "off"
    assert spec.software.modules == ["3.10"]
    assert spec.software.setup == ["true"]


ENV_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@reuse_tmp_path
@given(values=st.dictionaries(st.from_regex(r"X[A-Z0-9_]{0,9}", fullmatch=True), ENV_TEXT))
def test_any_env_survives_being_written_and_read(tmp_path: Path, values: dict[str, str]) -> None:
    spec = JobSpec(name="a", launch=Launch(command=["a"]), env=values)
    text = from_spec(spec, tmp_path).resolved_yaml()
    again = load(write(tmp_path, text))
    assert again.spec == spec
    assert again.resolved_yaml() == text


def _is_command(words: list[str]) -> bool:
    return bool(words[0].strip()) and not any("{sweep." in word for word in words)


@reuse_tmp_path
@given(words=st.lists(ENV_TEXT, min_size=1).filter(_is_command))
def test_any_command_survives_being_written_and_read(tmp_path: Path, words: list[str]) -> None:
    spec = JobSpec(name="a", launch=Launch(command=words))
    path = write(tmp_path, "")
    path.write_text(resolved_yaml(spec))
    assert load(path).spec == spec


# Short forms.


def test_short_forms_mean_the_long_ones(tmp_path: Path) -> None:
    short = loaded(
        tmp_path,
        "secrets: [A]\nafter: prepare\naffinity: strict\n"
        "sweep: {lr: [a, b], limit: 2}\nsoftware: {setup: source x}\n"
        "resources: {nodelist: [n1, n2], nodes: 2}\n",
    )
    long = loaded(
        tmp_path,
        "secrets: [{name: A}]\nafter: [{run: prepare, when: ok}]\naffinity: {mode: strict}\n"
        "sweep: {matrix: {lr: [a, b]}, limit: 2}\nsoftware: {setup: [source x]}\n"
        "resources: {nodelist: 'n1,n2', nodes: 2}\n",
    )
    assert short.spec == long.spec
    assert (
        loaded(tmp_path, "array: 0-9%4").spec
        == loaded(tmp_path, "array: {indices: 0-9, limit: 4}").spec
    )
    assert loaded(tmp_path, "array: 7").spec == loaded(tmp_path, "array: {indices: '7'}").spec
    assert loaded(tmp_path, "after: {run: 12, when: any}").spec.after[0].when == "any"


def test_a_key_without_a_value_counts_as_not_given(tmp_path: Path) -> None:
    bare = loaded(tmp_path, "").spec
    empty = "resources:\nenv:\nsecrets:\nsweep:\nafter:\nsoftware: {venv: ~, container: null}\n"
    assert loaded(tmp_path, empty).spec == bare


# YAML.


def test_anchors_aliases_and_merge_keys(tmp_path: Path) -> None:
    job = loaded(
        tmp_path,
        "resources: &r {nodes: 2, spares: 0}\n"
        "env: &e\n  A: one\n  B: &b two\n  C: *b\n"
        "checkpoint: {every: 5}\n",
    )
    assert job.spec.env == {"A": "one", "B": "two", "C": "two"}
    base = write(tmp_path, "env: {}\n", "x.yaml")
    assert base.is_file()
    merged = load(
        write(
            tmp_path,
            "name: demo\nlaunch: &l {command: [a], kind: mpi}\n"
            "env:\n  <<: [{A: 1, B: 1}, {B: 2, C: 2}]\n  A: 3\n",
        )
    )
    assert merged.spec.env == {"A": "3", "B": "1", "C": "2"}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_bom_and_line_ends(tmp_path: Path, newline: str, bom: bytes) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(bom + (NEEDED + "resources:\n  nodes: 3\n").replace("\n", newline).encode())
    job = load(path)
    assert job.text == path.read_bytes()
    assert str(job.source.locate("resources.nodes")) == f"{path}:4:10"
    assert str(job.source.locate("name")) == f"{path}:1:7"


def test_one_document_with_markers_is_fine(tmp_path: Path) -> None:
    text = f"%YAML 1.2\n--- # a comment\n{NEEDED}...\n"
    assert load(write(tmp_path, text)).spec.name == "demo"


@reuse_tmp_path
@given(data=st.binary(max_size=200))
def test_no_bytes_crash_the_loader(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError):
        load(path)


WORDS = ["name", "launch", "env", "sweep", "command", "array", "after", "extends", "0-9", "&a"]
MARKS = list("a1~:-[]{},|>'\"#?%@\\é")
MORE = ["*a", "<<", "!x", "---", "..."]
BREAKS = ["\n", "\n  ", " ", ": ", "- ", "\t", "\u2028", "\x85"]


@reuse_tmp_path
@given(parts=st.lists(st.sampled_from([*WORDS, *MARKS, *MORE, *BREAKS]), max_size=40))
def test_no_text_that_looks_like_yaml_crashes_the_loader(tmp_path: Path, parts: list[str]) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes("".join(parts).encode())
    with contextlib.suppress(InvalidInputError):
        load(path)


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


# The job.


def test_places_of_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "name: demo\n"
        "launch:\n"
        "  command:\n"
        "    - python\n"
        "    - train.py\n"
        "sweep:\n"
        "  lr: [a, b]\n"
        "env: {X: 1}\n",
    )
    source = load(path, ["resources.nodes=2"]).source
    for key, place in {
        "name": "1:7",
        "launch": "2:1",
        "launch.command": "3:3",
        "launch.command.1": "5:7",
        "launch.command.7": "3:3",
        "launch.kind": "2:1",
        "sweep.matrix.lr": "7:7",
        "sweep.matrix.lr.1": "7:11",
        "env": "8:6",
        "env.X": "8:10",
        "secrets.0": "1:1",
        "": "1:1",
    }.items():
        assert str(source.locate(key)) == f"{path}:{place}", key
    assert str(source.locate("resources.nodes")) == "--set resources.nodes"
    assert str(source.locate("resources.time")) == "--set resources.nodes"


def test_a_spec_built_in_python_is_held_to_the_same_rules(tmp_path: Path) -> None:
    spec = JobSpec(
        name="a", launch=Launch(kind="mpi", launcher="torchrun", command=["a"]), env={"N": "1"}
    )
    with pytest.raises(InvalidInputError) as caught:
        from_spec(spec, tmp_path)
    assert caught.value.problems[0].where is None
    good = spec.model_copy(update={"launch": Launch(command=["a"])})
    job = from_spec(good, tmp_path)
    assert job.spec is good
    assert job.base_dir == tmp_path
    assert job.source.locate("name") is None
    assert load(write(tmp_path, job.text.decode())).spec == good


def test_python_may_give_numbers_where_yaml_has_texts() -> None:
    spec = JobSpec.model_validate(
        {
            "name": "a",
            "launch": {"command": ["a"]},
            "env": {"A": 1, "B": 0.5, "C": True},
            "sweep": {"lr": [0.1, 1, False]},
        }
    )
    assert spec.env == {"A": "1", "B": "0.5", "C": "true"}
    assert spec.sweep is not None
    assert spec.sweep.matrix == {"lr": ["0.1", "1", "false"]}


def test_sweep_elements_are_in_row_major_order(tmp_path: Path) -> None:
    spec = loaded(tmp_path, "sweep: {lr: [a, b], seed: [1, 2, 3]}").spec
    assert [tuple(element.values()) for element in sweep_elements(spec)] == [
        ("a", "1"),
        ("a", "2"),
        ("a", "3"),
        ("b", "1"),
        ("b", "2"),
        ("b", "3"),
    ]
    assert list(sweep_elements(spec)[0]) == ["lr", "seed"]
    assert num_elements(spec) == 6
    assert sweep_elements(loaded(tmp_path, "").spec) == []
    assert num_elements(loaded(tmp_path, "").spec) == 0
