"""Every command of the documentation that needs no cluster is run, as a reader would run it."""

import os
import re
import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).parents[3]
console = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/console.py")))

#: Commands that no test runs, and why.
LEFT_OUT = {
    "make setup": "installs packages; every target of the Makefile runs it first",
    "make demo": "takes minutes; it is the demo itself",
    "make test": "runs this test",
    ".venv/bin/pytest tests/unit/render --update-golden": "changes the golden files",
    "~/slurmkit-env/bin/pip install .": "needs a package index",
    "pip install .": "needs a package index",
    "slurmkit run llama-finetune.yaml": "trains on four ranks; the starter's own tests do that",
    "slurmkit --install-completion": "changes the shell's start-up files",
}


def session_environment(home: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM", "SBATCH_", "XDG_", "PYTEST", "COV_"))
    }
    path = f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    return kept | {"HOME": str(home), "PATH": path, "LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize("page", console.pages_with_commands("laptop"), ids=console.page_name)
def test_commands_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    jobs_dir = tmp_path / "jobs"
    jobs_dir.mkdir()
    session = console.steps(page, "laptop")
    done = subprocess.run(
        ["bash", "-c", console.script(session, LEFT_OUT)],
        cwd=jobs_dir,
        env=session_environment(tmp_path),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
        check=False,
    )
    complaints = console.complaints(session, done.stdout, tmp_path)
    assert not complaints, "\n\n".join(complaints)


def test_left_out_commands_are_in_the_pages() -> None:
    shown = {
        step.text
        for page in console.pages()
        for step in console.steps(page, "laptop")
        if isinstance(step, console.Command)
    }
    assert set(LEFT_OUT) <= shown


@pytest.mark.parametrize("page", console.pages(), ids=console.page_name)
def test_yaml_is_yaml(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^( *)```yaml[^\n]*\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL):
        assert yaml.safe_load(match[2]) is not None or match[2].lstrip().startswith("#")
