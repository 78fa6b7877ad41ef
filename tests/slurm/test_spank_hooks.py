"""What Slurm makes of a plugin that fails, hook by hook: why ours decide in task_init alone."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest

from slurmkit.errors import SlurmkitError
from slurmkit.resources import shipped_dir
from slurmkit.sandbox import Sandbox

_SPEC = util.spec_from_file_location("spank_help", Path(__file__).with_name("spank.py"))
assert _SPEC
assert _SPEC.loader
_HELP = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_HELP)

pytestmark = pytest.mark.slurm
HOOKS = (
    *("init", "user_init", "task_init_privileged"),
    *("task_init", "task_post_fork", "task_exit", "exit"),
)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Path]]:
    """A cluster, and a plugin on it that fails where its argument says."""
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    if not shutil.which("cc") or not Path("/usr/include/slurm/spank.h").is_file():
        pytest.skip("needs a C compiler and spank.h (libslurm-dev)")
    try:
        cluster = Sandbox.up(f"test-spankhooks-{os.getpid()}", nodes=1, gpus=0, cpus=8)
    except SlurmkitError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    with cluster:
        plugin = cluster.shared_dir / "fail.so"
        source = shipped_dir("plugins") / "spank/tests/fail.c"
        command = ["cc", "-std=gnu11", "-shared", "-fPIC", "-o", plugin, source]
        subprocess.run(command, check=True, timeout=60)
        yield cluster, plugin


def launch(cluster: Sandbox, command: str, mark: Path) -> tuple[int, bool, bool]:
    """Return the exit code, whether the program ran, and whether the node is drained."""
    mark.unlink(missing_ok=True)
    argv = ["srun", "touch", str(mark)]
    if command == "sbatch":
        argv = ["sbatch", "--wait", "--output=/dev/null", f"--wrap=srun touch {mark}"]
    code = cluster.exec("login", argv, cwd=cluster.shared_dir, timeout=60).returncode
    state = cluster.exec("login", ["sinfo", "--noheader", "--format=%T"]).stdout
    drained = "drain" in state
    if drained:
        cluster.exec("login", ["scontrol", "update", "NodeName=node1", "State=RESUME"], check=True)
    return code, mark.exists(), drained


@pytest.mark.parametrize("hook", HOOKS)
def test_an_optional_plugin_never_stops_a_task(failing: tuple[Sandbox, Path], hook: str) -> None:
    """So a strict plugin cannot leave it to its return value: ours ends the task itself."""
    cluster, plugin = failing
    _HELP.load(cluster, f"optional {plugin} {hook}")
    assert launch(cluster, "srun", cluster.shared_dir / "ran") == (0, True, False)


@pytest.mark.parametrize("command", ["srun", "sbatch"])
def test_task_init_refuses_and_drains_nothing(failing: tuple[Sandbox, Path], command: str) -> None:
    cluster, plugin = failing
    _HELP.load(cluster, f"required {plugin} task_init")
    code, ran, drained = launch(cluster, command, cluster.shared_dir / "ran")
    if command == "sbatch":  # the batch script's own process is refused, too
        assert code != 0
    assert (code != 0, ran, drained) == (True, False, False)


@pytest.mark.parametrize("hook", ["init", "user_init", "task_post_fork"])
def test_other_hooks_hide_the_failure_from_srun(failing: tuple[Sandbox, Path], hook: str) -> None:
    """Measured with 22.05: srun ends with 0, and no task has run."""
    cluster, plugin = failing
    _HELP.load(cluster, f"required {plugin} {hook}")
    code, ran, _ = launch(cluster, "srun", cluster.shared_dir / "ran")
    assert (code, ran) == (0, False)


def test_a_batch_job_drains_the_node_where_user_init_fails(failing: tuple[Sandbox, Path]) -> None:
    cluster, plugin = failing
    _HELP.load(cluster, f"required {plugin} user_init")
    _, ran, drained = launch(cluster, "sbatch", cluster.shared_dir / "ran")
    assert (ran, drained) == (False, True)


def test_a_rank_killed_in_task_init_releases_the_others(failing: tuple[Sandbox, Path]) -> None:
    cluster, plugin = failing
    _HELP.load(cluster, f"optional {plugin} kill")
    start = time.monotonic()
    done = cluster.exec("login", ["srun", "--ntasks=4", "--kill-on-bad-exit=1", "sleep", "30"])
    assert done.returncode != 0
    assert time.monotonic() - start < 5
