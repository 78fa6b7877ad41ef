"""A prepared node of a RoCE site: files below a folder, and what a link says of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.doctor.link import Answer, Place
from slurmkit.doctor.registry import all_links
from slurmkit.site.fabric_presets import Expectation

LINKS = {link.id: link for link in all_links()}


@pytest.fixture(scope="session")
def roce() -> Expectation:
    """Return what the site says of its fabric."""
    return Expectation("roce-400", True, 400.0, 9000, "10.1.0.0/16", 26, 3)


@pytest.fixture
def look(tmp_path: Path, roce: Expectation) -> Callable[..., Answer]:
    """Return what looks at a link of the node, of which more may be known."""

    def run(link: str, **known: object) -> Answer:
        place = Place("node1", ("node1",), root=tmp_path, fabric=roce)
        return LINKS[link].answer(place.replace(**known))

    return run
