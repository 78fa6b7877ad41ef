import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.topology.export_json import from_json
from slurmkit.topology.model import Topology

FIXTURES = Path(__file__).parents[2] / "fixtures" / "topology"


@pytest.fixture(scope="session")
def fixture_dir() -> Path:
    return FIXTURES


@pytest.fixture(scope="session")
def node() -> Callable[[str], Topology]:
    """A node of tests/fixtures/topology by name."""

    def load(name: str) -> Topology:
        return from_json(json.loads((FIXTURES / f"{name}.json").read_text()))

    return load
