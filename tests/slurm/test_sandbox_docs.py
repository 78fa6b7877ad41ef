"""The page about the sandbox does what it says, on this machine."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from slurmkit.sandbox import Sandbox, rootfs

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/sandbox.md"
console = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/console.py")))

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(os.geteuid() != 0, reason="a sandbox cluster needs root"),
]


def test_commands_do_what_the_page_says(cluster: Sandbox, tmp_path: Path) -> None:
    del cluster  # it is here to skip this test where no sandbox can be made
    if not rootfs.rootfs_dir("forky").is_dir():
        pytest.skip("the root file system of forky is not made yet")
    session = console.steps(PAGE, "machine")
    # A root folder of its own: the page uses the names that a person would use.
    lines = [
        "unset ${!SLURMKIT_SANDBOX@}",
        f"export SLURMKIT_SANDBOX_ROOT=/var/lib/slurmkit/docs-{os.getpid()}",
        f"export PATH={Path(sys.executable).parent}:$PATH LC_ALL=C.UTF-8",
        "trap 'slurmkit sandbox down --all; rm -rf $SLURMKIT_SANDBOX_ROOT' EXIT",
        console.script(session, {}),
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    complaints = console.complaints(session, done.stdout, tmp_path)
    assert not complaints, "\n\n".join(complaints)


def test_the_python_on_the_page_runs(cluster: Sandbox, tmp_path: Path) -> None:
    del cluster
    code = PAGE.read_text().split("```python\n")[1].split("```")[0]
    code = code.replace('"mine"', f'"test-page-{os.getpid()}"')
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert sorted(done.stdout.split()) == ["node1", "node2"], done.stderr
