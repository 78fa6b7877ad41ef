"""A good site for each release, to seed faults into."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.site import generation

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def good_site(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a folder with the shipped dgx-h100, generated for a release; made once each."""
    made: dict[str, Path] = {}

    def make(release: str) -> Path:
        if release not in made:
            folder = tmp_path_factory.mktemp(f"good-{release}") / "dgx-h100"
            shipped = str(ROOT / "site-configs/dgx-h100")
            generation.run(shipped, version=release, output=folder, check=False, force=False)
            made[release] = folder
        return made[release]

    return make
