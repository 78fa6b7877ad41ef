"""What stays of a job on its nodes after it ends, is cancelled or is killed: nothing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from slurmkit.hostlist import expand
from slurmkit.resources import shipped_dir
from slurmkit.sandbox import Sandbox, SandboxUnavailableError

EPILOG = shipped_dir("plugins") / "epilog" / "slurmkit-epilog.sh"
# Users of every Debian that nobody logs in as.
USER1, USER2 = "games", "news"

# A program as careless as they come: memory of three kinds, a folder in /tmp, and a child that
# leaves its process group, session and parent.
_CARELESS = """
import ctypes, mmap, os, sys, time
tag, how = sys.argv[1:]
file = open(f"/dev/shm/any-{tag}", "w+b")
file.truncate(4096)
held = mmap.mmap(file.fileno(), 4096)
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
libc.shmat(libc.shmget(0, 4096, 0o600 | 0o1000), None, 0)
libc.semget(0, 1, 0o600 | 0o1000)
os.mkdir(f"/tmp/torchelastic_{tag}")
os.mkdir(f"/tmp/results-{tag}")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(3):
            os.close(number)
        time.sleep(600)
    os._exit(0)
print("up", flush=True)
time.sleep(600 if how == "stay" else 0)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Lab"]:
    """Two nodes whose slurmd calls our epilog, as a site has it, with extern steps."""
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    folder = tmp_path_factory.mktemp("epilog")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    env, script = folder / "node.env", folder / "epilog.sh"
    log = folder / "log"
    log.touch()
    env.write_text(
        f"SLURMKIT_EPILOG_LOG={log}\nSLURMKIT_EPILOG_MIN_UID=1\nSLURMKIT_EPILOG_GRACE_S=1\n"
    )
    script.write_text(f"#!/bin/sh\nSLURMKIT_NODE_ENV={env} exec {EPILOG}\n")
    script.chmod(0o755)
    (folder / "careless.py").write_text(_CARELESS)
    try:
        made = Sandbox.up(
            f"test-leftovers-{os.getpid()}",
            nodes=2,
            gpus=0,
            cpus=4,
            share=[folder],
            slurm_conf=[f"Epilog={script}", "PrologFlags=Alloc,Contain"],
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        yield Lab(made, folder)
    finally:
        made.down()


class Lab:
    """Starts careless jobs and looks at what there is on the nodes."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder

    def submit(self, user: str, tag: str, how: str = "stay", *, nodes: int = 1) -> str:
        """Start a job of a user and return its id once its tasks are up."""
        program = f"srun --overlap /usr/bin/python3 {self.folder}/careless.py {tag} {how}"
        where = "-wnode1" if nodes == 1 else "-N2"
        options = [f"-N{nodes}", f"-n{nodes}", where, "-o", str(self.sandbox.shared_dir / tag)]
        done = self.as_user(user, ["sbatch", "--parsable", *options, "--wrap", program])
        job = done.stdout.strip()
        output = self.sandbox.shared_dir / tag

        def said() -> str:
            return output.read_text() if output.is_file() else ""

        wait_for(lambda: said().count("up") == nodes, lambda: f"{tag} is up: {said()}")
        return job

    def as_user(self, user: str, argv: list[str]) -> subprocess.CompletedProcess[str]:
        entry = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return self.sandbox.exec("login", [*entry, *argv], check=True, cwd=self.sandbox.shared_dir)

    def cancel(self, job: str) -> None:
        self.sandbox.exec("login", ["scancel", job], check=True)
        self.wait_ended(job)

    def wait_ended(self, job: str) -> None:
        """Wait until the epilog has run on every node: a job is COMPLETING until then."""

        def ended() -> bool:
            shown = self.sandbox.exec("login", ["squeue", "-h", "-j", job, "-o", "%T"])
            return shown.stdout.strip() in ("", "CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL")

        wait_for(ended, lambda: f"job {job} has ended")

    def there(self, user: str, node: str = "node1") -> set[str]:
        """Return what a user has on a node: processes, memory, folders; one word for each."""
        script = (
            f"pgrep -u {user} >/dev/null && echo processes;"
            f"find /dev/shm /tmp -mindepth 1 -user {user} -printf '%f\\n';"
            f'ipcs -m | grep -q " {user} " && echo segment;'
            f'ipcs -s | grep -q " {user} " && echo semaphore; true'
        )
        return set(self.sandbox.exec(node, ["sh", "-c", script], check=True).stdout.split())

    def log(self) -> str:
        return (self.folder / "log").read_text()


def wait_for(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.1)


def all_of(tag: str) -> set[str]:
    """Return what a careless job has."""
    found = {"processes", "segment", "semaphore"}
    return found | {f"any-{tag}", f"torchelastic_{tag}", f"results-{tag}"}


def test_a_cancelled_job_leaves_nothing_on_any_node(lab: Lab) -> None:
    job = lab.submit(USER1, "cancelled", nodes=2)
    for node in lab.sandbox.nodes:
        assert lab.there(USER1, node) == all_of("cancelled")
    lab.cancel(job)
    for node in lab.sandbox.nodes:
        # What no program is known to leave may be somebody's results.
        assert lab.there(USER1, node) == {"results-cancelled"}
    assert lab.log().count(f"job {job} user ") == 2


def test_a_job_that_ends_by_itself_leaves_nothing(lab: Lab) -> None:
    lab.wait_ended(lab.submit(USER1, "done", "end"))
    assert not lab.there(USER1) - {"results-cancelled", "results-done"}


def test_of_two_jobs_of_one_user_the_other_one_is_not_touched(lab: Lab) -> None:
    first = lab.submit(USER2, "first")
    second = lab.submit(USER2, "second")
    stranger = lab.submit(USER1, "stranger")
    lab.cancel(first)
    there = lab.there(USER2)
    assert all_of("second") <= there
    pids = lab.sandbox.exec("node1", ["pgrep", "-f", "careless.py first"]).stdout.split()
    assert not pids
    assert all_of("stranger") <= lab.there(USER1)
    assert f"beside job {second}" in lab.log().splitlines()[-1]
    lab.cancel(second)
    assert not lab.there(USER2) - {"results-first", "results-second"}
    assert all_of("stranger") <= lab.there(USER1)
    lab.cancel(stranger)


def test_no_node_was_drained(lab: Lab) -> None:
    shown = lab.sandbox.exec("login", ["sinfo", "-h", "-N", "-o", "%T"], check=True).stdout
    assert set(shown.split()) <= {"idle", "completing"}


# -- without an epilog: what a job of slurmkit's own tidies itself ---------------------------------

_OWN = """\
name: careless
resources: {{nodes: 2, tasks_per_node: 1, cpus_per_task: 1, time: 5m}}
resilience: {resilience}
launch:
  command: [/usr/bin/python3, careless.py, {tag}, stay]
"""
# Without resilience nobody is on the other nodes when Slurm ends the job.
_ENDS = [("scancel", "true"), ("kill", "null")]


@pytest.mark.parametrize(("end", "resilience"), _ENDS)
def test_a_job_of_slurmkit_tidies_its_nodes_itself(
    cluster: Sandbox, end: str, resilience: str
) -> None:
    folder = cluster.shared_dir / f"careless-{end}"
    folder.mkdir()
    # NCCL's name for shared memory: one of no known program nobody would dare to remove.
    program = _CARELESS.replace("any-{tag}", "nccl-{tag}").replace("results-", "ompi.")
    (folder / "careless.py").write_text(program)
    (folder / "job.yaml").write_text(_OWN.format(resilience=resilience, tag=end))
    env = {"SLURMKIT_RUN_ROOT": str(folder / "runs")}
    slurmkit = str(Path(sys.executable).with_name("slurmkit"))
    submitted = cluster.exec(
        "login", [slurmkit, "submit", "job.yaml", "--json"], cwd=folder, env=env, check=True
    )
    (run,) = json.loads(submitted.stdout)
    logs = Path(run["run_dir"]) / "logs"
    ups = partial(_count_up, logs)
    wait_for(lambda: ups() == 2, lambda: f"{ups()} of 2 ranks are up")
    status = cluster.exec("login", [slurmkit, "status", run["run_id"], "--json"], env=env)
    nodes = expand(json.loads(status.stdout)["elements"][0]["nodes"])
    for node in nodes:
        assert _left(cluster, node, end) == {"process", "shm", "segment"}
    if end == "scancel":
        cluster.exec("login", ["scancel", run["job_id"]], check=True)
    else:
        cluster.exec(nodes[1], ["pkill", "-KILL", "-o", "-f", f"careless.py {end}"], check=True)

    def left() -> dict[str, set[str]]:
        return {node: found for node in nodes if (found := _left(cluster, node, end))}

    wait_for(lambda: not left(), lambda: str(left()))


def _count_up(logs: Path) -> int:
    return sum("up" in path.read_text() for path in logs.rglob("rank-*.log"))


def _left(cluster: Sandbox, node: str, tag: str) -> set[str]:
    script = (  # the bracket keeps the shell, which has these words on its line, from being found
        f"pgrep -f '[c]areless.py {tag}' >/dev/null && echo process;"
        f"[ -e /dev/shm/nccl-{tag} ] && echo shm;"
        "ipcs -m | grep -q ' 4096 ' && echo segment"
    )
    return set(cluster.exec(node, ["sh", "-c", script]).stdout.split())
