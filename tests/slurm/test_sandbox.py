"""The sandbox is a real cluster, breaks as one breaks, and leaves nothing behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.errors import UsageError
from slurmkit.sandbox import (
    Sandbox,
    SandboxError,
    machine,
    processes,
    programs,
    record,
    take_down,
)

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(os.geteuid() != 0, reason="a sandbox cluster needs root"),
]

_CLI = [sys.executable, "-m", "slurmkit", "sandbox"]


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a sandbox of one test, taken down whatever happens."""
    chosen = f"test-one-{os.getpid()}"
    yield chosen
    take_down(chosen)


def _listing(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def _namespaces() -> dict[str, set[str]]:
    """Return the namespaces in use on this machine: by identity, the processes in them."""
    found: dict[str, set[str]] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            for kind in ("pid", "net", "mnt", "uts", "ipc"):
                with contextlib.suppress(OSError):
                    found.setdefault(str((process / "ns" / kind).readlink()), set()).add(
                        process.name
                    )
    return found


def _traces(name: str) -> list[str]:
    """Return what is left of a sandbox on the machine: files, mounts, links, processes."""
    root = record.sandbox_root()
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    folder = str(root / name)
    left = [line for line in mounts if folder in line]
    left += [str(p) for p in (root / name, root / f".{name}.lock") if p.exists()]
    left += [str(path) for path in processes.find_inits(root / name)]
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and folder in (process / "cmdline").read_text():
                left.append(f"process {process.name}")
    return left


def _links() -> str:
    show = ["ip", "-o", "link"]
    names = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    netns = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    return "\n".join(line.split(":")[1] for line in names.splitlines()) + netns


def _wait(done: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def _slurm_states(sandbox: Sandbox) -> dict[str, str]:
    return {host.name: host.slurm_state for host in sandbox.status() if host.slurm_state}


# -- coming and going --------------------------------------------------------------------------


def test_up_and_down_leave_nothing(name: str) -> None:
    before, devices = _links(), _listing("/dev")
    namespaces = set(_namespaces())
    with Sandbox.up(name, nodes=3) as sandbox:
        init = machine.room(sandbox.layout)
        assert init
        during = set(_namespaces()) - namespaces
        assert len(during) >= 5 * 6  # five kinds, for the room, ctl, login and three nodes
        assert _links() == before, "the machine's own network shows nothing of it"
        assert _listing("/dev") == devices, "nor does its /dev"
        mine = {ns for ns, pids in _namespaces().items() if str(init.pid) in pids} & during
        assert sandbox.exec("login", ["srun", "-N3", "hostname"]).returncode == 0
    assert _traces(name) == []
    assert _links() == before
    assert not mine & set(_namespaces())
    assert not init.alive()


def test_down_is_idempotent(name: str) -> None:
    Sandbox.up(name, nodes=1)
    assert take_down(name)
    assert not take_down(name)
    with pytest.raises(SandboxError, match="there is no sandbox"):
        Sandbox.open(name)


def test_two_sandboxes_live_side_by_side(cluster: Sandbox, name: str) -> None:
    with Sandbox.up(name, nodes=2, gpus=0, cpus=3) as other:
        assert not other.layout.subnet.overlaps(cluster.layout.subnet)
        for sandbox in (cluster, other):
            done = sandbox.exec("login", ["srun", "-N2", "printenv", "SLURM_CLUSTER_NAME"])
            assert set(done.stdout.split()) == {sandbox.name}
        address = cluster.layout.address("node1")
        far = other.exec("login", ["ip", "route", "get", address])
        assert far.returncode != 0, "no way leads from one to the other"
    assert cluster.exec("login", ["srun", "hostname"]).returncode == 0


def test_up_twice_is_refused(cluster: Sandbox) -> None:
    with pytest.raises(SandboxError, match="is up already"):
        Sandbox.up(cluster.name)
    assert cluster.exec("login", ["sinfo"]).returncode == 0


@pytest.mark.parametrize("moment", ["sandbox.json", "room.ready", "hosts/login/ready"])
def test_a_killed_up_is_cleaned_up(name: str, moment: str) -> None:
    program = f"from slurmkit.sandbox import Sandbox; Sandbox.up({name!r}, nodes=12)"
    process = subprocess.Popen([sys.executable, "-c", program])
    _wait_for_file(record.state_dir(name) / moment)
    process.kill()
    process.wait()
    with pytest.raises(SandboxError, match="not running"):
        Sandbox.open(name)
    assert take_down(name)
    time.sleep(0.2)  # a child that was about to start would show by now
    assert _traces(name) == []


def _wait_for_file(path: Path) -> None:
    while not path.exists():
        time.sleep(0.001)


@pytest.mark.parametrize("victim", ["room", "its parent"])
def test_up_replaces_a_crashed_sandbox(name: str, victim: str) -> None:
    sandbox = Sandbox.up(name, nodes=1)
    room = machine.room(sandbox.layout)
    assert room
    parent = Path("/proc", str(room.pid), "stat").read_text().rpartition(")")[2].split()[1]
    os.kill(room.pid if victim == "room" else int(parent), signal.SIGKILL)
    _wait(lambda: not room.alive())
    fresh = Sandbox.up(name, nodes=1)
    assert fresh.exec("login", ["srun", "hostname"]).stdout == "node1\n"


def test_it_needs_root_and_says_so(name: str) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        try:
            Sandbox.up(name)
        except UsageError as error:
            os.write(writing, f"{error.exit_code} {error}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert said.startswith("2 ")
    assert "needs root" in said
    assert "sudo" in said


# -- being a cluster ---------------------------------------------------------------------------


def test_srun_reaches_every_node(any_cluster: Sandbox) -> None:
    done = any_cluster.exec("login", ["srun", "-N4", "hostname"], check=True)
    assert sorted(done.stdout.split()) == ["node1", "node2", "node3", "node4"]


def test_releases_differ_and_run_jobs(any_cluster: Sandbox) -> None:
    out = any_cluster.shared_dir / "job.out"
    script = f"{sys.executable} -c 'import slurmkit, os; print(os.environ[\"SLURM_JOB_GPUS\"])'"
    command = ["sbatch", "--gres=gpu:h100:2", "-c4", "-o", out, "--wrap", script]
    any_cluster.exec("login", command, check=True)
    _wait(lambda: out.exists() and out.read_text() == "0,1\n")
    if any_cluster.layout.release == "forky":
        assert int(any_cluster.slurm_version.partition(".")[0]) >= 26


def test_jobs_of_other_users(any_cluster: Sandbox) -> None:
    out = any_cluster.shared_dir / "nobody.out"
    submit = f"sbatch -o {out} --wrap 'id -u; srun hostname'"
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", submit]
    any_cluster.exec("login", command, cwd=any_cluster.shared_dir, check=True)
    _wait(lambda: out.exists() and out.read_text() == "65534\nnode1\n")


def test_tmp_is_private_and_the_shared_folder_is_not(cluster: Sandbox) -> None:
    script = """
mine=$(hostname)
touch /tmp/$mine /dev/shm/$mine "$1"/$mine
sleep 0.5
ls /tmp /dev/shm
"""
    launch = ["srun", "-N2", "sh", "-c", script, "sh", cluster.shared_dir]
    done = cluster.exec("login", launch, check=True)
    assert done.stdout.count("node1") == done.stdout.count("node2") == 2
    assert {"node1", "node2"} <= set(_listing(str(cluster.shared_dir)))
    assert not Path("/tmp/node1").exists()


def test_names_resolve_at_once_or_not_at_all(any_cluster: Sandbox) -> None:
    program = """
import socket, time
for node in ("node1", "node2", "login", "ctl"):
    assert socket.gethostbyname(node).startswith("10."), node
started = time.monotonic()
try:
    socket.gethostbyname("no-such-host.example.org")
except OSError:
    print(time.monotonic() - started)
"""
    done = any_cluster.exec("login", ["srun", sys.executable, "-c", program], check=True)
    assert float(done.stdout) < 0.5


def test_torch_ranks_of_two_nodes_meet(any_cluster: Sandbox) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    program = """
import os, torch, torch.distributed as dist
rank = int(os.environ["SLURM_PROCID"])
os.environ.update(MASTER_ADDR="node1", MASTER_PORT="29411", RANK=str(rank), WORLD_SIZE="2")
dist.init_process_group("gloo")
total = torch.tensor(rank + 1.0)
dist.all_reduce(total)
print(os.uname().nodename, total.item())
dist.destroy_process_group()
"""
    launch = ["srun", "-N2", "--ntasks=2", "-w", "node[1-2]", sys.executable, "-c", program]
    done = any_cluster.exec("login", launch, env={"OMP_NUM_THREADS": "1"}, timeout=120, check=True)
    assert sorted(done.stdout.splitlines()) == ["node1 3.0", "node2 3.0"]


def test_there_is_something_to_compare_a_job_with(any_cluster: Sandbox) -> None:
    show = any_cluster.exec("login", ["scontrol", "show", "partition"], check=True).stdout
    assert "PartitionName=debug" in show
    assert "MaxTime=01:00:00" in show
    assert "PartitionName=long" in show
    assert "State=DOWN" in show
    show = any_cluster.exec("login", ["scontrol", "show", "license"], check=True).stdout
    assert "LicenseName=matlab" in show
    node = any_cluster.exec("login", ["scontrol", "show", "node", "node4"], check=True).stdout
    assert "Gres=gpu:h100:8" in node
    assert "AvailableFeatures=gpu,rack2" in node
    assert "RealMemory=524288" in node


# -- running programs on hosts -----------------------------------------------------------------


def test_exec_passes_input_output_code_environment_and_folder(cluster: Sandbox) -> None:
    script = 'cat; echo "$X" "$(pwd)"; echo oops >&2; exit 7'
    folder = cluster.shared_dir
    done = cluster.exec("node2", ["sh", "-c", script], input="in\n", env={"X": "a b"}, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"in\na b {folder}\n", "oops\n")
    here = cluster.exec("login", ["pwd"])
    assert here.stdout == f"{Path.cwd()}\n"
    assert cluster.exec("login", ["sh", "-c", "kill -9 $$"]).returncode == -signal.SIGKILL
    assert cluster.exec("login", ["no-such-program"]).returncode == 127
    gone = cluster.exec("login", ["true"], cwd="/no/such/folder")
    assert gone.returncode == 127
    assert "/no/such/folder is not shown on this host" in gone.stderr


def test_signals_reach_the_program(cluster: Sandbox) -> None:
    script = "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.05; done"
    process = cluster.popen("login", ["sh", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    assert process.communicate(timeout=20)[0] == "usr1\n"
    assert process.returncode == 3

    process = cluster.popen("login", ["sleep", "60"])
    time.sleep(0.3)
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM


def test_a_program_dies_with_whoever_started_it(cluster: Sandbox) -> None:
    process = cluster.popen("login", ["sleep", "4711"])
    _wait(lambda: "4711" in cluster.exec("login", ["ps", "-eo", "args"]).stdout)
    process.kill()
    process.wait()
    _wait(lambda: "sleep 4711" not in cluster.exec("login", ["ps", "-eo", "args"]).stdout)


def test_the_terminal_comes_along(cluster: Sandbox) -> None:
    command = [*_CLI, "exec", "login", "--name", cluster.name, "--", "sh", "-c", "tty; test -t 0"]
    recorder = ["script", "--quiet", "--return", "--command", subprocess.list2cmdline(command)]
    done = subprocess.run(
        [*recorder, "/dev/null"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "/dev/pts/" in done.stdout


# -- accounting ---------------------------------------------------------------------------------


def test_accounts_limits_and_history(name: str) -> None:
    try:
        programs.require_programs(programs.ACCOUNTING_PROGRAMS)
    except SandboxError as error:
        pytest.skip(str(error))
    with Sandbox.up(name, nodes=1, accounting=True) as sandbox:
        done = sandbox.exec("login", ["srun", "-A", "nobodys", "true"])
        assert "Invalid account" in done.stderr
        sandbox.exec("login", ["srun", "-A", "teaching", "--qos=normal", "true"], check=True)
        history = ["sacct", "-X", "--noheader", "--format=account,state"]
        seen = "teaching COMPLETED"
        _wait(lambda: seen in " ".join(sandbox.exec("login", history).stdout.split()))
        sandbox.kill("dbd")
        assert sandbox.exec("login", ["srun", "true"]).returncode == 0, "Slurm runs on without it"
        sandbox.heal("dbd")
        _wait(lambda: seen in " ".join(sandbox.exec("login", history).stdout.split()))


# -- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["host", "forky"])
def test_slurm_sees_faults_and_healing(name: str, release: str) -> None:
    conf = ["MessageTimeout=3"]
    with Sandbox.up(name, nodes=4, release=release, slurmd_timeout_s=4, slurm_conf=conf) as sandbox:
        marks = [sandbox.popen(f"node{i}", ["sleep", "600"]) for i in (1, 2, 3)]
        sandbox.kill("node1")
        sandbox.partition("node2")
        sandbox.freeze("node3")
        assert marks[0].wait(10) == -signal.SIGKILL, "a killed node takes everything along"
        assert [host.condition for host in sandbox.status()] == [
            *("up", "up", "killed", "partitioned", "frozen", "up")
        ]
        _wait(lambda: [*_slurm_states(sandbox).values()] == ["down*", "down*", "down*", "idle"])
        for node in ("node1", "node2", "node3"):
            sandbox.heal(node)
        assert [*_slurm_states(sandbox).values()] == ["idle"] * 4
        assert {host.condition for host in sandbox.status()} == {"up"}
        assert marks[1].poll() is None
        assert marks[2].poll() is None, "what was frozen or cut off goes on"
        done = sandbox.exec("login", ["srun", "-N4", "hostname"], check=True)
        assert len(done.stdout.split()) == 4
        for mark in marks[1:]:
            mark.terminate()
            mark.wait()


def test_hosts_heal_from_everything(name: str) -> None:
    with Sandbox.up(name, nodes=2) as sandbox:
        for fault in (sandbox.kill, sandbox.partition, sandbox.freeze):
            for host in ("node1", "login"):
                fault(host)
                sandbox.heal(host)
        sandbox.exec("node2", ["pkill", "slurmd"], check=True)
        sandbox.heal("node2")
        sandbox.kill("ctl")
        sandbox.heal("ctl")
        drain = ["scontrol", "update", "nodename=node2", "state=drain", "reason=test"]
        sandbox.exec("login", drain, check=True)
        sandbox.heal("node2")
        done = sandbox.exec("login", ["srun", "-N2", "hostname"], check=True)
        assert sorted(done.stdout.split()) == ["node1", "node2"]


def test_unknown_and_absent_hosts(cluster: Sandbox) -> None:
    with pytest.raises(UsageError, match="has no host 'node9'"):
        cluster.kill("node9")
    cluster.kill("node4")
    try:
        with pytest.raises(SandboxError, match=r"node4 of sandbox .* does not run"):
            cluster.exec("node4", ["true"])
    finally:
        cluster.heal("node4")


# -- the command line --------------------------------------------------------------------------


def test_the_command_line_from_a_clone_under_tmp(name: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    folder = tmp_path / "sub"
    folder.mkdir()
    (folder / "say").write_text("#!/bin/sh\n#SBATCH -N2\nsrun hostname\n")
    script = f"""
set -e
cd {folder}
slurmkit() {{ {sys.executable} -m slurmkit "$@"; }}
slurmkit sandbox up --nodes 2 --gpus 0 --cpus 5 --name {name} >up 2>&1
slurmkit sandbox status --name {name} >status
slurmkit sandbox status --name {name} --json | {sys.executable} -m json.tool >status.json
eval "$(slurmkit sandbox env --name {name})"
sbatch -o out say >/dev/null
until grep -qs node2 out && grep -qs node1 out; do sleep 0.2; done
sinfo >nodes
cd /
sinfo >/dev/null
slurmkit sandbox exec login -- sh -c 'exit 9' || echo "code $?" >{folder}/code
slurmkit sandbox kill node2
slurmkit sandbox status >{folder}/killed
slurmkit sandbox heal node2
slurmkit sandbox down
"""
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted((folder / "out").read_text().split()) == ["node1", "node2"]
    assert "ready after" in (folder / "up").read_text()
    assert "node2" in (folder / "status").read_text()
    assert "idle" in (folder / "nodes").read_text()
    assert (folder / "code").read_text() == "code 9\n"
    assert "killed" in (folder / "killed").read_text()
    assert _traces(name) == []
