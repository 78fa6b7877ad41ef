"""Scripts from short descriptions of jobs, and the golden files they are held against."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmkit.plan.model import Plan
from slurmkit.plan.planner import Context, make_plan
from slurmkit.render.renderer import render
from slurmkit.site.models import Site
from slurmkit.spec.models import JobSpec

_SCRIPTS = Path(__file__).parents[2] / "fixtures" / "scripts"
RUN_DIR = "/shared/runs/demo/20261120-120501-3fa9c1"

MakePlan = Callable[..., Plan]


def _plan(
    job: dict[str, Any],
    site: dict[str, Any] | None = None,
    *,
    run_dir: str | None = RUN_DIR,
    dependencies: tuple[tuple[str, str], ...] = (),
    portable: bool = False,
) -> Plan:
    job = {"name": "demo", "launch": {"command": ["true"]}, **job}
    context = Context(
        base_dir="/shared/job",
        run_root="/shared/runs",
        run_dir=None if portable else run_dir,
        slurmkit="/opt/slurmkit/bin/slurmkit",
        dependencies=dependencies,
        portable=portable,
    )
    spec, where = JobSpec.model_validate(job), Site.model_validate(site or {})
    return make_plan(spec, where, None, context)


@pytest.fixture(scope="session")
def make() -> MakePlan:
    """Plan a job given as what stands in its file; name and command have defaults."""
    return _plan


@pytest.fixture(scope="session")
def script() -> Callable[..., str]:
    """Plan and render a job given as what stands in its file."""
    return lambda *args, **options: render(_plan(*args, **options), [])


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a golden file, or write the file with ``--update-golden``."""

    def compare(name: str, text: str) -> None:
        path = _SCRIPTS / name
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert text == path.read_text(), "differs from the golden file; see --update-golden"

    return compare
