"""The policy of the Lua plugins is pure: checked by each Lua that a Slurm may be linked with."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLUGIN = HERE.parents[2] / "plugins" / "lua"


def _run(interpreter: str, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    if not shutil.which(interpreter):
        pytest.skip(f"{interpreter} is not installed")
    return subprocess.run(
        [interpreter, *argv], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("interpreter", ["lua5.1", "lua5.4"])
def test_rules(interpreter: str) -> None:
    done = _run(interpreter, HERE / "rules_spec.lua", PLUGIN)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 100


@pytest.mark.parametrize("interpreter", ["lua5.1", "lua5.4"])
def test_check_policy_names_what_is_wrong(interpreter: str, tmp_path: Path) -> None:
    check = PLUGIN / "check_policy.lua"
    assert _run(interpreter, check).returncode == 0
    policy = tmp_path / "policy.lua"
    policy.write_text("return { gpus_per_tsk = 'fix' }")
    done = _run(interpreter, check, policy)
    assert done.returncode == 1
    assert "gpus_per_tsk: there is no such setting" in done.stderr
    policy.write_text("return {")
    done = _run(interpreter, check, policy)
    assert done.returncode == 1
    assert "policy.lua" in done.stderr
