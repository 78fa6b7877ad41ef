"""What a job file says, as it is read."""

import contextlib
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.errors import InvalidInputError
from slurmkit.spec.loader import Job, from_spec, load, resolved_yaml
from slurmkit.spec.models import JobSpec, Launch
from slurmkit.spec.sweeps import num_elements

_FILES = runpy.run_path(str(Path(__file__).with_name("job_files.py")))
NEEDED: str = _FILES["NEEDED"]
reuse_tmp_path = _FILES["reuse_tmp_path"]
ENV_TEXT = _FILES["ENV_TEXT"]
write: Callable[..., Path] = _FILES["write"]
loaded: Callable[..., Job] = _FILES["loaded"]


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


def test_a_sweep_has_as_many_elements_as_combinations(tmp_path: Path) -> None:
    spec = loaded(tmp_path, "sweep: {lr: [a, b], seed: [1, 2, 3]}").spec
    assert num_elements(spec) == 6
    assert num_elements(loaded(tmp_path, "").spec) == 0
