"""Reading a file loads nothing that a file without mistakes does not need."""

import subprocess
import sys
from pathlib import Path

import slurmkit

PROGRAM = """
import sys
from slurmkit.site.lookup import find_site
from slurmkit.spec.loader import load
load(sys.argv[1])
find_site()
# Each of these costs milliseconds of every command.
heavy = {"difflib", "importlib.metadata", "slurmkit.hostlist", "typer", "rich", "jinja2", "torch"}
print(sorted(heavy.intersection(sys.modules)))
import pydantic
class Other(pydantic.BaseModel):
    x: int
print(Other(x=1).x, "importlib.metadata" in sys.modules)
"""


def test_no_heavy_imports_and_other_models_still_get_plugins(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: a\nlaunch: {command: [a]}\nsweep: {lr: [1]}\nenv: {A: 1}\n")
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(slurmkit.__file__).parents[1],
        env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
    )
    assert done.stdout.splitlines() == ["[]", "1 True"]
