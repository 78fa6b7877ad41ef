"""Schema and reference page of site.yaml."""

from pathlib import Path

import jsonschema
import pytest

from slurmkit.errors import InvalidInputError
from slurmkit.site.examples import EXAMPLES
from slurmkit.site.lookup import read_site
from slurmkit.site.models import Site
from slurmkit.site.reference import markdown
from slurmkit.site.schema import site_schema
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.reference import keys_of
from slurmkit.yamlfile.validate import build
from slurmkit.yamlfile.writer import dump

VALIDATOR = jsonschema.Draft202012Validator(site_schema())
KEYS = list(keys_of(Site))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(site_schema())


def test_every_key_has_an_example_and_stands_on_the_page() -> None:
    assert {key.key for key in KEYS} == set(EXAMPLES)
    page = markdown()
    for key in KEYS:
        last = key.key.rpartition(".")[2]
        assert f"| `{last}` | {key.type} | {key.default} | {key.description} |" in page


# What a section cannot be without.
REQUIRED: dict[tuple[str, ...], dict[str, object]] = {
    ("tiers", "NAME"): {"qos": "high"},
    ("fabric",): {"preset": "roce-400"},
    ("switches", "leaves", "NAME"): {"nodes": "n1"},
    ("elastic",): {"driver": "/bin/machines", "nodes": "n1"},
}


@pytest.mark.parametrize("key", EXAMPLES)
def test_examples_load(key: str) -> None:
    *sections, last = key.split(".")
    data: object = {**REQUIRED.get(tuple(sections), {}), last: EXAMPLES[key]}
    while sections:
        section = sections.pop()
        data = {**REQUIRED.get(tuple(sections), {}), section: data}
    build(Site, read_document(dump(data).encode(), "site.yaml"))
    VALIDATOR.validate(data)


@pytest.mark.parametrize(
    "data",
    [
        {"nmae": "x"},
        {"partitions": ["a"]},
        {"node_types": {"a": {"cpus": 0}}},
        {"node_types": {"a": {"memory": "lots"}}},
        {"tiers": {"a": {}}},
        {"env": {"1A": "x"}},
        {"env": {"A": None}},
        {"presets_for": {"torhc": ["a"]}},
        {"modules": {"system": "x"}},
        {"signal": {"lead_s": -1}},
        {"mpi": "x"},
    ],
    ids=str,
)
def test_both_refuse(tmp_path: Path, data: dict[str, object]) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(dump(data))
    with pytest.raises(InvalidInputError):
        read_site(path)
    assert not VALIDATOR.is_valid(data)
