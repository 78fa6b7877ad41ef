"""The reference page names every key, and every key has an example."""

import pytest

from slurmkit.spec.examples import EXAMPLES
from slurmkit.spec.models import JobSpec
from slurmkit.spec.reference import markdown
from slurmkit.yamlfile.reference import Key, keys_of

KEYS = list(keys_of(JobSpec))


def test_every_key_has_an_example_and_no_example_is_left_over() -> None:
    assert {key.key for key in KEYS} == set(EXAMPLES)


@pytest.mark.parametrize("key", KEYS, ids=[key.key for key in KEYS])
def test_every_key_stands_on_the_page(key: Key) -> None:
    assert key.type
    assert key.description.endswith(".") or key.description.endswith(")")
    last = key.key.rpartition(".")[2]
    assert f"| `{last}` | {key.type} | {key.default} | {key.description} |" in markdown()


def test_the_page_has_a_heading_for_every_section() -> None:
    page = markdown()
    assert page.startswith("# job.yaml\n")
    sections = {key.key.rpartition(".")[0] for key in KEYS} - {""}
    assert {line[4:-1] for line in page.splitlines() if line.startswith("## `")} == sections


def test_tables_are_well_formed() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("|")]
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
