"""What is installed stands alone: the wheel holds everything that the commands need."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip puts it into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    done = subprocess.run([*build, ROOT], capture_output=True, text=True, check=False, timeout=240)
    if "Could not find a version" in done.stderr or "No matching distribution" in done.stderr:
        pytest.skip(f"hatchling cannot be installed here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("slurmkit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _run(installed: Path, folder: Path, *argv: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(installed), "SLURMKIT_RUN_ROOT": str(folder / "runs")}
    done = subprocess.run(
        [sys.executable, "-m", "slurmkit", *argv],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_package_works_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    assert "hello-ranks.yaml" in _run(installed, tmp_path, "init", "hello-ranks")
    assert _run(installed, tmp_path, "render", "hello-ranks.yaml").startswith("#!/bin/bash")
    assert "rank 3 of 4" in _run(installed, tmp_path, "run", "hello-ranks.yaml")
    made = _run(installed, tmp_path, "site", "generate", "dgx-h100", "--output=mine")
    assert "wrote /etc/slurm/slurm.conf" in made


def test_the_wheel_holds_what_the_checkout_holds(installed: Path) -> None:
    shipped = installed / "slurmkit" / "_data" / "templates"
    own = [
        path.relative_to(ROOT / "templates")
        for path in (ROOT / "templates").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert own
    assert not [path for path in own if not (shipped / path).is_file()]
    assert not (installed / "tests").exists()
    assert (installed / "slurmkit" / "py.typed").is_file()
