"""What Slurm makes of a plugin that fails, hook by hook: why ours decide in task_init alone."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from subprocess import CompletedProcess

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
HELD = "held"
#: What a `required` plugin that fails in a hook does, by Slurm:
#: (srun: exit code, whether the program ran), (sbatch: exit code, or requeued and held; whether the
#: program ran; whether the node was drained).
TABLE = {
    "22.05": {
        "init": ((0, False), (0, False, True)),
        "user_init": ((0, False), (0, False, True)),
        "task_init_privileged": ((1, False), (1, False, False)),
        "task_init": ((1, False), (1, False, False)),
        "task_post_fork": ((0, False), (0, False, True)),
        "task_exit": ((0, True), (0, True, False)),
        "exit": ((0, True), (0, True, False)),
    },
}
_LATE = ("init", "user_init", "task_post_fork")
TABLE["24.11"] = TABLE["22.05"] | dict.fromkeys(_LATE, ((1, False), (HELD, False, True)))
TABLE["26.05"] = TABLE["24.11"]
RELEASES = ["host", *(pytest.param(name, marks=pytest.mark.long) for name in ("trixie", "forky"))]
HOOKS = tuple(TABLE["22.05"])


@dataclass(frozen=True)
class Place:
    """A cluster, and a plugin on it that fails where its argument says."""

    cluster: Sandbox
    plugin: Path
    series: str

    def load(self, kind: str, argument: str) -> None:
        _HELP.load(self.cluster, f"{kind} {self.plugin} {argument}")

    def run(self, *argv: str) -> "CompletedProcess[str]":
        return self.cluster.exec("login", argv, cwd=self.cluster.shared_dir, timeout=60)

    def srun(self) -> tuple[int, bool]:
        """Return the exit code, and whether the program ran."""
        mark = self._mark()
        return self.run("srun", "touch", str(mark)).returncode, mark.exists()

    def sbatch(self) -> tuple[int | str, bool, bool]:
        """Return the exit code, whether the program ran, and whether the node was drained."""
        mark = self._mark()
        options = ("--parsable", "--output=/dev/null", f"--wrap=srun touch {mark}")
        job_id = self.run("sbatch", *options).stdout.strip()
        code = self._outcome(job_id)
        self.run("scancel", job_id)
        return code, mark.exists(), self._drained()

    def _drained(self) -> bool:
        """Whether the node was drained, by the time that it is idle or drained; it is no more."""
        deadline = time.monotonic() + 20
        while (state := self.run("sinfo", "--noheader", "--format=%T").stdout.split()[0]) != "idle":
            if state == "drained":
                self.run("scontrol", "update", "NodeName=node1", "State=RESUME")
                return True
            assert time.monotonic() < deadline, state
            time.sleep(0.1)
        return False

    def _outcome(self, job_id: str) -> int | str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            shown = self.run("scontrol", "show", "job", job_id).stdout
            state = re.search(r"JobState=(\w+)", shown)
            code = re.search(r"ExitCode=(\d+):(\d+)", shown)
            assert state, shown
            assert code, shown
            if state[1] in ("COMPLETED", "FAILED"):
                return int(code[1])
            # "launch failed requeued held", or merely pending because no node is left for it.
            if state[1] == "PENDING" and ("held" in shown or "Restarts=1" in shown):
                return HELD
            time.sleep(0.1)
        raise AssertionError(shown)

    def _mark(self) -> Path:
        mark = self.cluster.shared_dir / "ran"
        mark.unlink(missing_ok=True)
        return mark


@pytest.fixture(scope="module", params=RELEASES)
def failing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    release = request.param
    try:
        name = f"test-spankhooks{release}-{os.getpid()}"
        cluster = Sandbox.up(name, nodes=1, gpus=0, cpus=8, release=release)
    except SlurmkitError as error:
        pytest.skip(f"no {release} sandbox cluster on this machine: {error.message}")
    with cluster:
        headers = _HELP.headers(cluster.layout.root_dir, tmp_path_factory.mktemp(release))
        series = ".".join(headers.version.split(".")[:2])
        plugin = cluster.shared_dir / "fail.so"
        source = shipped_dir("plugins") / "spank/tests/fail.c"
        command = ["cc", "-std=gnu11", "-shared", "-fPIC", "-isystem", headers.include_dir]
        subprocess.run([*command, "-o", plugin, source], check=True, timeout=60)
        yield Place(cluster, plugin, series)


@pytest.mark.parametrize("hook", HOOKS)
def test_an_optional_plugin_never_stops_a_task(failing: Place, hook: str) -> None:
    """So a strict plugin cannot leave it to its return value: ours ends the task itself."""
    failing.load("optional", hook)
    assert failing.srun() == (0, True)
    assert failing.sbatch() == (0, True, False)


@pytest.mark.parametrize("command", ["srun", "sbatch"])
@pytest.mark.parametrize("hook", HOOKS)
def test_what_a_required_plugin_does(failing: Place, hook: str, command: str) -> None:
    """Only task_init, privileged or not, ends the task, ends srun with 1, and drains nothing."""
    if failing.series not in TABLE:
        pytest.skip(f"nobody has measured Slurm {failing.series}")
    failing.load("required", hook)
    by_srun, by_sbatch = TABLE[failing.series][hook]
    if command == "srun":
        assert failing.srun() == by_srun
    else:
        assert failing.sbatch() == by_sbatch


def test_a_rank_killed_in_task_init_holds_nobody(failing: Place) -> None:
    """The plugins wait for nobody: the other ranks start and end, and then srun does."""
    shared = failing.cluster.shared_dir
    failing.load("optional", f"kill={shared}/killed")
    program = f"date +%s.%N >{shared}/started.$SLURM_PROCID"
    done = failing.run("srun", "--ntasks=4", "--kill-on-bad-exit=0", "sh", "-c", program)
    assert done.returncode != 0
    killed = float((shared / "killed").read_text())
    started = {rank: shared / f"started.{rank}" for rank in range(4)}
    assert [rank for rank, path in started.items() if path.exists()] == [0, 2, 3]
    latest = max(float(path.read_text()) for path in started.values() if path.exists())
    assert latest - killed < 1


def test_a_rank_killed_in_task_init_ends_the_step(failing: Place) -> None:
    """With --kill-on-bad-exit, as rendered scripts have it, Slurm ends the others at once."""
    shared = failing.cluster.shared_dir
    failing.load("optional", f"kill={shared}/killed")
    done = failing.run("srun", "--ntasks=4", "--kill-on-bad-exit=1", "sleep", "30")
    ended = time.time()
    assert done.returncode != 0
    # `sleep` had 30 s; tests/bench measures how long it takes.
    assert ended - float((shared / "killed").read_text()) < 10
