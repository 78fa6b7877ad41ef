"""The reader gives the same places without libyaml, which not every build of PyYAML has."""

import pytest
import yaml

from slurmkit.errors import InvalidInputError
from slurmkit.yamlfile import reader

TEXTS = [
    "name: a\nlaunch:\n  command:\n  - b\n  - 'c'\nenv: {X: 1, Y: \"é\"}\n",
    "a: &x [1, 2]\nb: *x\nc:\n  <<: {d: 1}\n",
    "a: |\n  two\n  lines\nb: >-\n  one\n",
]
BAD = [
    "a: 1\na: 2\n",
    "a:\n\tb: 1\n",
    "a: [1\n",
    "a: b: c\n",
    "a: @x\n",
    "a: *x\n",
    'a: "\\ud800"\n',
    "--- a\n--- b\n",
    "a: !!python/object:os.system x\n",
]


@pytest.fixture(autouse=True)
def _needs_libyaml() -> None:
    if not hasattr(yaml, "CBaseLoader"):
        pytest.skip("this PyYAML has no libyaml to compare with")


@pytest.mark.parametrize("text", TEXTS)
def test_same_tree(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = reader.read_document(text.encode(), "f")
    monkeypatch.setattr(reader, "_Loader", yaml.BaseLoader)
    assert reader.read_document(text.encode(), "f") == fast


@pytest.mark.parametrize("text", BAD)
def test_same_line_of_a_mistake(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    for loader in (yaml.CBaseLoader, yaml.BaseLoader):
        monkeypatch.setattr(reader, "_Loader", loader)
        with pytest.raises(InvalidInputError) as caught:
            reader.read_document(text.encode(), "f")
        problem = caught.value.problems[0]
        assert problem.where is not None
        places.append((problem.code, problem.where.line))
    assert places[0] == places[1]
