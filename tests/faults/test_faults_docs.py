"""The tutorial about a node that is killed does what it says, on this machine."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/start/kill-a-node.md"
console = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/console.py")))

pytestmark = pytest.mark.slurm


def test_commands_do_what_the_page_says(fault_cluster, tmp_path: Path) -> None:
    del fault_cluster  # it is here to skip this test where no sandbox can be made
    session = console.steps(PAGE, "machine")
    files = [step for step in session if isinstance(step, console.File)]
    # The page writes its files where it is by then: in the shared folder of its sandbox.
    session = [step for step in session if step not in files]
    at = next(i for i, step in enumerate(session) if "slurmkit init" in step.text) + 1
    session[at:at] = files
    # A root folder of its own: the page uses the names that a person would use.
    lines = [
        "unset ${!SLURMKIT_@}",
        f"export SLURMKIT_SANDBOX_ROOT=/var/lib/slurmkit/docs-faults-{os.getpid()}",
        f"export PATH={Path(sys.executable).parent}:$PATH LC_ALL=C.UTF-8",
        "trap 'slurmkit sandbox down --all; rm -rf $SLURMKIT_SANDBOX_ROOT' EXIT",
        console.script(session, {}),
    ]
    done = subprocess.run(
        # Told to end, bash still takes the sandbox down; killed, it could not.
        ["timeout", "240", "bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    complaints = console.complaints(session, done.stdout, tmp_path)
    assert not complaints, "\n\n".join(complaints)
