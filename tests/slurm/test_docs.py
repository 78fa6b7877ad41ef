"""Every command of the documentation that needs a cluster is run on a sandbox's login host."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from slurmkit.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
console = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/console.py")))

#: Commands that no test runs, and why.
LEFT_OUT = {
    "slurmkit submit llama-finetune.yaml": "the starter's own tests train it, which takes longer",
}


@pytest.mark.slurm
@pytest.mark.parametrize("page", console.pages_with_commands("cluster"), ids=console.page_name)
def test_commands_do_what_the_page_says(cluster: Sandbox, page: Path) -> None:
    home = cluster.shared_dir / "docs" / console.page_name(page)
    jobs_dir = home / "jobs"
    jobs_dir.mkdir(parents=True)
    session = console.steps(page, "cluster")
    venv = ROOT / ".venv/bin"
    lines = [
        "unset ${!SLURMKIT_@} ${!XDG_@}",
        f"export HOME={home} PATH={venv}:$PATH LC_ALL=C.UTF-8",
        console.script(session, LEFT_OUT),
    ]
    done = cluster.exec("login", ["bash", "-c", "\n".join(lines)], cwd=jobs_dir, timeout=240)
    complaints = console.complaints(session, done.stdout, home)
    assert not complaints, "\n\n".join(complaints)
