"""The documentation builds without a dead link, and its pages fetch nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import slurmkit
from slurmkit import api

ROOT = Path(__file__).parents[3]


def test_builds_without_warnings_and_reads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert pages
    loads = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in pages:
        assert not loads.findall(page.read_text(encoding="utf-8")), page


def test_every_public_name_is_in_the_python_reference() -> None:
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    names = {*slurmkit.__all__, *api.__all__} - {"__version__"}
    documented = set(re.findall(r"slurmkit(?:\.\w+)*\.(\w+)", page))
    assert names <= documented | {"SlurmkitError"}  # every class of slurmkit.errors is there


def test_every_variable_of_slurmkit_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    sources = [*(ROOT / "slurmkit").rglob("*.py"), *(ROOT / "templates").rglob("*.j2")]
    # The epilog's own are on its page.
    sources += [*(ROOT / "plugins/prolog").iterdir(), *(ROOT / "plugins/health").iterdir()]
    used = {
        name
        for source in sources
        for name in re.findall(r"\bSLURMKIT_[A-Z_]*[A-Z]\b", source.read_text(encoding="utf-8"))
    }
    for source in (ROOT / "plugins/spank").rglob("*.c"):
        used |= set(re.findall(r'"(SLURMKIT_[A-Z_]*[A-Z])"', source.read_text(encoding="utf-8")))
    assert used == set(re.findall(r"\bSLURMKIT_[A-Z_]*[A-Z]\b", page))
