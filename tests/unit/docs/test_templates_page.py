"""The page on templates names everything that a template can use."""

import re
from pathlib import Path

from slurmkit.plan.model import (
    Checkpoints,
    Container,
    Modules,
    Plan,
    Recovery,
    Shape,
    Software,
    Step,
    Sweep,
)
from slurmkit.resources import shipped_dir

_PAGE = (Path(__file__).parents[3] / "docs/reference/templates.md").read_text()


def test_every_name_and_template_is_on_the_page() -> None:
    known = set(re.findall(r"[\w./]+", _PAGE))
    wanted = {f"plan.{name}" for name in Plan._fields} - {"plan.step"}
    wanted |= {f"step.{name}" for name in Step._fields}
    for part in (Shape, Software, Modules, Container, Sweep, Checkpoints, Recovery):
        wanted |= set(part._fields)
    wanted |= {f"sbatch/{path.name}" for path in (shipped_dir("templates") / "sbatch").iterdir()}
    assert wanted - known == set()
