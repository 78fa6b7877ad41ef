"""Packages with hooks, installed into a folder as pip would leave them."""

from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Write a module and its .dist-info with an entry point; return the folder for PYTHONPATH."""

    def write(module: str, text: str, entry: str = "") -> Path:
        folder = tmp_path / "packages"
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[slurmkit.hooks]\n{module} = {entry or module}\n")
        return folder

    return write
