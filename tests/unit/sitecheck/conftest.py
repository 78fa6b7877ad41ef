"""A good site for each release, to seed faults into."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from slurmkit.site import generation

ROOT = Path(__file__).resolve().parents[3]


def load_faults() -> ModuleType:
    """Import the table of seeds; tests are no package."""
    name = "site_faults"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / f"tests/fixtures/{name}.py")
        assert spec
        assert spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


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
