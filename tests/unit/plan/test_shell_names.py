"""Which variables bash keeps for itself, asked of real bash."""

import shutil
import subprocess

from slurmkit.plan.environment import why_not_settable


def _bash(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", script, "bash", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_no_variable_of_bash_is_lost_on_its_way_to_a_program() -> None:
    names = _bash("compgen -v").stdout.split()
    env = shutil.which("env") or "/usr/bin/env"
    script = 'export "$1=some value" && exec "$2"'
    lost = {name for name in names if f"{name}=some value" not in _bash(script, name, env).stdout}
    assert len(names) > 30
    assert {name for name in lost if not why_not_settable(name)} == set()
