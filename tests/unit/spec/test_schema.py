"""The JSON Schema accepts what the loader accepts and refuses what one key alone makes wrong."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from slurmkit.errors import InvalidInputError
from slurmkit.resources import shipped_dir
from slurmkit.spec.examples import EXAMPLES
from slurmkit.spec.loader import load
from slurmkit.spec.schema import job_schema
from slurmkit.yamlfile.nodes import Mapping, Node, Scalar, Sequence
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.writer import dump

BASE = "name: demo\nlaunch: {command: [a]}\n"
STARTERS = sorted(shipped_dir("templates").glob("starters/*/*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(job_schema())

# One key each; "name" and "launch" are added where a case does not write them.
GOOD = """
name: a b, 'c' $d
name: 1e3
launch: {command: [a, 1, 0.5, true, 010]}
launch: {command: [a], kind: torch, launcher: torchrun, workdir: ., mpi: none}
launch: {command: [a], kind: ~, workdir: null}
resources:
resources: {nodes: 4, tasks_per_node: 1, cpus_per_task: 2, spares: 0, exclusive: false}
resources: {gpus_per_node: 8}
resources: {gpus_per_node: 0}
resources: {gpus_per_node: 'h100:8'}
resources: {memory: 64G}
resources: {memory: 0}
resources: {memory: 64}
resources: {memory: 1.5T}
resources: {memory: 4GiB/cpu}
resources: {memory: 500 MB}
resources: {time: 90}
resources: {time: '90'}
resources: {time: 1-12}
resources: {time: '1-12:00:00'}
resources: {time: '1:30:00'}
resources: {time: 4h}
resources: {time: 1d 12h}
resources: {time: 1.5h}
resources: {time: unlimited}
resources: {partition: 12, qos: true, account: a.b-c, reservation: x}
resources: {partition: 'a,b', constraint: 'a&b|c x', licenses: 'm:1'}
resources: {nodelist: 'n[1-2]', nodes: 2}
resources: {nodelist: [n1, n2], nodes: 2}
env: {}
env:
env: {A: a, B: 1, C: 1.5, D: true, _e9: ''}
secrets: [A, B_2]
secrets: [{name: A, file: x}, {name: B, env: C}]
secrets: []
software: {modules: [a/1, 3.1], venv: x, setup: source x}
software: {conda: x, setup: [a, 'b c', 1]}
software: {container: {image: x.sqsh, runtime: pyxis, mounts: ['/a:/b:ro', /c]}}
software: {container: ~}
array: 0-9
array: 7
array: 0-99:2%10
array: 1,3,5
array: {indices: 0-9, limit: 2}
array: {indices: 7}
sweep: {lr: [1, 0.5, a, true]}
sweep: {lr: [1], limit: 3}
sweep: {matrix: {lr: [1], limit: [2]}, limit: 3}
sweep:
after: prepare
after: 123
after: 123_4
after: [prepare, 123, {run: a, when: any}, {run: 5}]
after: {run: a, when: start}
after: []
checkpoint: {dir: x, every: auto, keep: 1, async: false, levels: [nvme, shared]}
checkpoint: {every: 500}
checkpoint: {every: 10m}
checkpoint:
resilience: {on_node_failure: requeue, then: [stop], heartbeat_s: 1, max_restarts: 0}
resilience: {heartbeat_s: 0.5, hang: off, preflight: off}
resilience: {hang: 10m}
affinity: off
affinity: strict
affinity: {mode: warn, policy: spread}
sbatch: [--mail-type=END, '--nice=5']
sbatch: []
"""

BAD = """
name: ''
name: a/b
name: .a
name: -a
name: 123_4
name: [a]
name:
launch:
launch: a
launch: {command: a b}
launch: {command: []}
launch: {command: [~]}
launch: {command: [[a]]}
launch: {command: [{a: b}]}
launch: {command: [a], kind: x}
launch: {command: [a], kindd: mpi}
launch: {command: [a], mpi: true}
nodes: 4
resources: 4
resources: [nodes]
resources: {node: 4}
resources: {nodes: 0}
resources: {nodes: two}
resources: {nodes: '2'}
resources: {nodes: 1.5}
resources: {nodes: true}
resources: {exclusive: yes}
resources: {exclusive: 'true'}
resources: {spares: -1}
resources: {gpus_per_node: h100}
resources: {gpus_per_node: 'h100:0'}
resources: {gpus_per_node: -1}
resources: {gpus_per_node: true}
resources: {memory: 64X}
resources: {memory: 4G/core}
resources: {memory: -1}
resources: {memory: [64G]}
resources: {time: 5 parsecs}
resources: {time: 0}
resources: {time: '0'}
resources: {time: 0s}
resources: {time: '0:00:00'}
resources: {time: true}
resources: {time: 1.5}
resources: {partition: a b}
resources: {partition: ''}
resources: {partition: [a]}
resources: {nodelist: []}
resources: {nodelist: [[a]]}
env: [A=1]
env: {A: ~}
env: {A: [x]}
env: {1A: x}
env: {A-B: x}
env: A
secrets: A
secrets: [1A]
secrets: [{file: x}]
secrets: [{name: A, path: x}]
secrets: [~]
software: {modules: a}
software: {modules: [a b]}
software: {setup: {a: b}}
software: {container: x}
software: {container: {runtime: pyxis}}
software: {container: {image: x, runtime: docker}}
array: x
array: 0-9%0
array: 1.5
array: [1]
array: {limit: 2}
array: {indices: 0-9, limit: 0}
array: {indices: '0-9%2'}
sweep: {}
sweep: {lr: 1}
sweep: {lr: []}
sweep: {lr: [~]}
sweep: {lr: [[1]]}
sweep: {1r: [1]}
sweep: {lr: [1], limit: 0}
sweep: {lr: [1], limit: [2]}
sweep: {matrix: {lr: 1}}
sweep: {matrix: {lr: [1]}, lr: [1]}
sweep: [1]
after: [~]
after: [[a]]
after: {when: ok}
after: {run: a, when: never}
after: {run: 1.5}
checkpoint: {keep: 0}
checkpoint: {every: soon}
checkpoint: {every: 0}
checkpoint: {levels: [tape]}
checkpoint: {async: 1}
checkpoint: {async_: true}
resilience: {on_node_failure: pray}
resilience: {then: stop}
resilience: {heartbeat_s: 0}
resilience: {heartbeat_s: fast}
resilience: {hang: never}
affinity: maybe
affinity: true
affinity: [off]
sbatch: --hold
sbatch: ['']
extends: {a: b}
zzz: 1
"""


def document(case: str) -> str:
    key = case.partition(":")[0]
    needed = [line for line in BASE.splitlines() if not line.startswith(f"{key}:")]
    return "\n".join([*needed, case, ""])


def as_editors_read(text: str) -> Any:
    """Return the data as editors see them: YAML 1.2's core schema."""
    return data_of(read_document(text.encode(), "case"))


def data_of(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {name: data_of(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [data_of(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value()


def loads(path: Path, text: str) -> bool:
    path.write_text(text)
    try:
        load(path)
    except InvalidInputError:
        return False
    return True


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(job_schema())
    assert json.loads(json.dumps(job_schema())) == job_schema()
    assert job_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("case", GOOD.strip().splitlines())
def test_both_accept(tmp_path: Path, case: str) -> None:
    text = document(case)
    assert loads(tmp_path / "job.yaml", text)
    VALIDATOR.validate(as_editors_read(text))


@pytest.mark.parametrize("case", BAD.strip().splitlines())
def test_both_refuse(tmp_path: Path, case: str) -> None:
    text = document(case)
    assert not loads(tmp_path / "job.yaml", text)
    assert not VALIDATOR.is_valid(as_editors_read(text))


def test_both_need_name_and_command(tmp_path: Path) -> None:
    for text in ("name: a\n", "launch: {command: [a]}\n", "name: a\nlaunch: {}\n"):
        assert not loads(tmp_path / "job.yaml", text)
        assert not VALIDATOR.is_valid(as_editors_read(text))


def test_every_key_is_described_for_editors() -> None:
    schema = job_schema()
    for section in (schema, *schema["$defs"].values()):
        assert section["description"]
        for name, property_ in section["properties"].items():
            assert property_["description"], name
            assert property_["examples"], name


@pytest.mark.parametrize("path", STARTERS, ids=str)
def test_starters_are_valid(path: Path) -> None:
    load(path)
    VALIDATOR.validate(as_editors_read(path.read_text()))


@pytest.mark.parametrize("key", EXAMPLES)
def test_examples_load(tmp_path: Path, key: str) -> None:
    (tmp_path / "base.yaml").write_text("{}")
    example: Any = EXAMPLES[key]
    *sections, last = key.split(".")
    example = {last: example}
    beside = {
        "secrets": {"name": "A"},
        "after": {"run": "a"},
        "software.container": {"image": "x"},
        "array": {"indices": "0"},
        "sweep": {"matrix": {"lr": ["1"]}},
        "launch": {"command": ["a"]},
    }
    example = {**beside.get(".".join(sections), {}), **example}
    if sections and sections[0] in ("secrets", "after"):
        example = [example]
    for section in reversed(sections):
        example = {section: example}
    if "kind" in str(key) or key == "launch.launcher":
        example["launch"].setdefault("kind", "torch")
    data = {"name": "a", "launch": {"command": ["a"]}, **example}
    if key == "launch.command":
        data["sweep"] = {"lr": ["1"]}
    if key == "resources.memory":
        data["resources"]["gpus_per_node"] = 1
    if key == "resources.nodelist":
        data["resources"]["nodes"] = 4
    if key == "secrets.env":
        data["secrets"][0].pop("file", None)
    text = dump(data)
    path = tmp_path / "job.yaml"
    path.write_text(text)
    load(path)
    VALIDATOR.validate(as_editors_read(text))
