"""`slurmkit run --hosts` over real sshds on the nodes of a sandbox; Slurm has no part in it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from slurmkit.resources import shipped_dir
from slurmkit.sandbox import Sandbox, SandboxUnavailableError

SLURMKIT = Path(sys.executable).with_name("slurmkit")
NODES = ("node1", "node2", "node3")
# Ranks that go on for ever, hold shared memory of both kinds, and have a child that outlives them.
_SPIN = r"""
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char name[64];
    int rank, file;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    snprintf(name, sizeof name, "/nccl-%06d", (int)getpid());
    file = shm_open(name, O_CREAT | O_RDWR, 0600);
    if (ftruncate(file, 4096) || mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED)
        return 1;
    shmat(shmget(IPC_PRIVATE, 4096, 0600 | IPC_CREAT), 0, 0);
    if (fork() == 0) {
        setsid();
        close(0), close(1), close(2);
        for (;;)
            sleep(1);
    }
    printf("rank %d up\n", rank);
    fflush(stdout);
    for (;;)
        sleep(1);
}
"""
_YAML = """\
name: {name}
resources: {{nodes: 3, tasks_per_node: 2, time: 5m}}
env: {{GREETING: "it's, fine"}}
launch:
  kind: {kind}
  command: {command}
"""


class Lab:
    """A sandbox with sshds, a folder that its hosts share, and runs that are started on login."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.folder = sandbox.shared_dir / "lab"
        self.folder.mkdir()
        (self.folder / "spin.c").write_text(_SPIN)
        shutil.copy(shipped_dir("templates") / "starters" / "hello-mpi" / "hello.c", self.folder)
        for name in ("spin", "hello"):
            build = ["mpicc", "-O1", "-o", name, f"{name}.c"]
            subprocess.run(build, cwd=self.folder, check=True, timeout=60)
        self.job("spin", "mpi", "[./spin]")
        self.job("hello", "mpi", "[./hello]")
        self.number = 0

    def job(self, name: str, kind: str, command: str) -> str:
        (self.folder / f"{name}.yaml").write_text(
            _YAML.format(name=name, kind=kind, command=command)
        )
        return f"{name}.yaml"

    def hosts(self, old: str = "", new: str = "") -> Path:
        """Return hosts.yaml with one thing changed."""
        text = self.sandbox.hosts_yaml.read_text().replace("node[1-4]", "node[1-3]")
        assert old in text
        self.number += 1
        path = self.folder / f"hosts-{self.number}.yaml"
        path.write_text(text.replace(old, new) + "connect_timeout_s: 3\n")
        return path

    def start(self, job: str, hosts: Path, *options: str) -> "subprocess.Popen[str]":
        argv = [str(SLURMKIT), "run", "--hosts", str(hosts), job, *options]
        return self.sandbox.popen(
            "login", argv, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, job: str, hosts: Path, *options: str) -> tuple[int, str]:
        """Return exit code and everything that was printed."""
        process = self.start(job, hosts, *options)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def run_until_up(
        self, act: Callable[["subprocess.Popen[str]"], object], hosts: Path
    ) -> tuple[int, str]:
        """Start ranks that never end, do something to them once all are up, and see the end."""
        process = self.start("spin.yaml", hosts)
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if sum(" up" in text for text in lines) == 6 and line.endswith("up\n"):
                act(process)
        process.wait(60)
        process.stdout.close()
        return process.returncode, "".join(lines)

    def left(self, nodes: Sequence[str] = NODES) -> dict[str, str]:
        """Return what is on the nodes that only ranks, or those who start them, leave there."""
        script = (
            "ls -A /dev/shm; ls -Ad /tmp/ompi.* /tmp/pmix* /tmp/slurmkit-* 2>/dev/null;"
            "tail -n +2 /proc/sysvipc/shm;"
            "pgrep -a 'spin|hello|orted|prted|hydra' || true"
        )
        found = {
            node: self.sandbox.exec(node, ["sh", "-c", script], check=True).stdout for node in nodes
        }
        return {node: text for node, text in found.items() if text.strip()}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Four nodes with sshd."""
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    if shutil.which("mpicc") is None:
        pytest.skip("no mpicc on this machine")
    try:
        sandbox = Sandbox.up(f"test-hosts-{os.getpid()}", nodes=4, gpus=0, cpus=4, sshd=True)
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox with sshd on this machine: {error.message}")
    try:
        yield Lab(sandbox)
    finally:
        sandbox.down()


def test_all_ranks_are_one_world_and_nothing_is_left(lab: Lab) -> None:
    code, said = lab.run("hello.yaml", lab.hosts())
    assert code == 0, said
    for rank in range(6):
        assert f"[rank {rank}] rank {rank} of 6 on node{rank // 2 + 1}, Open MPI" in said
    assert "MPI_Allreduce over 6 ranks: 21" in said
    assert not lab.left()
    run_dir = Path(said.rpartition("files: ")[2].strip())
    assert (run_dir / "hosts" / "hostfile").read_text() == "".join(
        f"{node} slots=2\n" for node in NODES
    )
    subprocess.run(["shellcheck", run_dir / "hosts" / "mpirun.sh"], check=True)
    logs = subprocess.run(
        [SLURMKIT, "logs", run_dir, "--rank", "5"], capture_output=True, text=True, check=True
    )
    assert logs.stdout.startswith("rank 5 of 6 on node3")
    status = subprocess.run(
        [SLURMKIT, "status", run_dir, "--json"], capture_output=True, text=True, check=False
    )
    shown = json.loads(status.stdout)
    assert shown["state"] == "COMPLETED"
    assert shown["elements"][0]["nodes"] == "node[1-3]"


def test_programs_without_mpi_learn_their_place_and_the_jobs_variables(lab: Lab) -> None:
    words = (
        "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $MASTER_ADDR $(hostname) $GREETING"
    )
    code, said = lab.run(lab.job("place", "command", f'[sh, -c, "{words}"]'), lab.hosts())
    assert code == 0, said
    for rank in range(6):
        node = f"node{rank // 2 + 1}"
        assert f"[rank {rank}] {rank}/6 {rank % 2}/2 node1 {node} it's, fine\n" in said


@pytest.mark.long
def test_an_mpich_program_gets_mpichs_mpirun(lab: Lab) -> None:
    if shutil.which("mpicc.mpich") is None:
        pytest.skip("no MPICH on this machine")
    build = ["mpicc.mpich", "-o", "hello-mpich", "hello.c"]
    subprocess.run(build, cwd=lab.folder, check=True, timeout=60)
    code, said = lab.run(lab.job("mpich", "mpi", "[./hello-mpich]"), lab.hosts())
    assert code == 0, said
    assert "[rank 5] rank 5 of 6 on node3, MPICH" in said
    assert "MPI_Allreduce over 6 ranks: 21" in said
    assert not lab.left()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("slots: 2", "slots: 1", "too few slots on node1 slots=1"),
        ("node[1-3]", "node[1-2]", "the job needs 3 hosts with 2 slots each; hosts.yaml leaves 2"),
        ("node[1-3]", "[node1, node2, nowhere]", "nowhere: its name does not resolve"),
        ("node[1-3]", "[node1, node2, {name: far, address: 192.0.2.7}]", "far: "),
        ("slots: 2", "slots: 2\nport: 23", "node[1-3]: connection refused"),
        ("known_hosts", "empty", "node[1-3]: its host key is not in known_hosts"),
        ("user_key", "no_key", "node[1-3]: permission denied"),
        ("slots: 2", "slots: 2\nuser: nobody-here", "node[1-3]: permission denied"),
    ],
)
def test_what_keeps_hosts_from_taking_part_is_one_clear_error(
    lab: Lab, old: str, new: str, words: str
) -> None:
    code, said = lab.run("hello.yaml", lab.hosts(old, new))
    assert code != 0
    assert words in said
    assert said.count("error:") == 1
    assert "Traceback" not in said
    assert "rank" not in said.replace("tasks_per_node", "")


def test_a_folder_or_program_that_hosts_lack_is_named(lab: Lab) -> None:
    shared = str(lab.sandbox.shared_dir)
    code, said = lab.run("hello.yaml", lab.hosts(f"shared_dir: {shared}", "shared_dir: /tmp/own"))
    assert code == 1
    assert "node[1-3]: it does not see /tmp/own/slurmkit-runs" in said
    code, said = lab.run(lab.job("none", "mpi", "[./none]"), lab.hosts())
    assert code == 1
    assert "node[1-3]: there is no program ./none" in said


def test_a_rank_that_dies_ends_all_and_is_blamed_with_its_host(lab: Lab) -> None:
    def kill_one(_run: object) -> None:
        lab.sandbox.exec("node2", ["pkill", "-KILL", "-o", "-x", "spin"], check=True)

    code, said = lab.run_until_up(kill_one, lab.hosts())
    assert code == 1
    assert "-- spin: failed: rank 2 on node2 was ended by SIGKILL" in said
    assert not lab.left()


def test_ctrl_c_ends_all(lab: Lab) -> None:
    code, said = lab.run_until_up(lambda run: run.send_signal(signal.SIGINT), lab.hosts())
    assert code == 1
    assert "-- spin: cancelled" in said
    assert not lab.left()


def test_a_second_run_on_the_same_hosts_is_told(lab: Lab) -> None:
    hosts = lab.hosts()
    said: list[str] = []

    def second(run: "subprocess.Popen[str]") -> None:
        said.append(lab.run("hello.yaml", hosts, "--set", "resources.nodes=1")[1])
        run.send_signal(signal.SIGINT)

    lab.run_until_up(second, hosts)
    assert "warning: node1 already run 2" in said[0]
    assert "MPI_Allreduce over 2 ranks: 3" in said[0]
    assert "already run" not in lab.run("hello.yaml", hosts)[1]


def test_what_a_killed_starter_leaves_is_cleaned_on_request(lab: Lab) -> None:
    hosts = lab.hosts()
    code, _ = lab.run_until_up(lambda run: run.kill(), hosts)
    assert code == -signal.SIGKILL
    assert lab.left(), "nothing to clean: this test shows nothing"
    cleaned = lab.sandbox.exec(
        "login", [SLURMKIT, "run", "--hosts", hosts, "--clean"], cwd=lab.folder, check=True
    )
    for node in NODES:
        assert f"{node}: " in cleaned.stderr
    assert not lab.left()
    again = lab.sandbox.exec(
        "login", [SLURMKIT, "run", "--hosts", hosts, "--clean"], cwd=lab.folder, check=True
    )
    assert "nothing to clean" in again.stderr


def test_a_host_that_dies_is_named_and_tidied_once_it_is_back(lab: Lab) -> None:
    hosts = lab.hosts()
    started = time.monotonic()
    code, said = lab.run_until_up(lambda _run: lab.sandbox.partition("node2"), hosts)
    seconds = time.monotonic() - started
    assert code == 1
    assert (
        "-- spin: failed: the command on node2 failed: its host died, or left the network" in said
    )
    assert "warning: node2: after run" in said
    assert not lab.left(["node1", "node3"])
    assert seconds < 60, "Open MPI's own keepalive takes eight minutes"
    lab.sandbox.heal("node2")
    assert lab.left(["node2"]), "nobody could have tidied it"
    lab.sandbox.exec("login", [SLURMKIT, "run", "--hosts", hosts, "--clean"], check=True)
    assert not lab.left()


@pytest.mark.long
def test_the_mpis_of_debian_testing_do_the_same() -> None:
    """Open MPI 6, whose launcher has other names for everything, and MPICH 5."""
    packages = ("openmpi-bin", "mpich", "openssh-server", "openssh-client")
    try:
        made = Sandbox.up(
            f"test-hostsforky-{os.getpid()}",
            nodes=3,
            gpus=0,
            cpus=4,
            release="forky",
            packages=packages,
            sshd=True,
        )
    except SandboxUnavailableError as error:
        pytest.skip(f"no forky sandbox with MPI on this machine: {error.message}")
    with made:
        lab = Lab(made)
        build = ["mpicc.mpich", "-o", "hello-mpich", "hello.c"]
        subprocess.run(build, cwd=lab.folder, check=True, timeout=60)
        hosts = made.hosts_yaml
        for job, name in (
            ("[./hello]", "Open MPI v6"),
            ("[./hello-mpich]", "MPICH Version:      5"),
        ):
            code, said = lab.run(lab.job("testing", "mpi", job), hosts)
            assert code == 0, said
            assert f"[rank 5] rank 5 of 6 on node3, {name}" in said.replace("\t", "      ")
            assert not lab.left()
        code, said = lab.run_until_up(lambda _run: made.partition("node2"), lab.hosts())
        assert code == 1
        assert "failed: the command on node2 failed: its host died, or left the network" in said
        assert not lab.left(["node1", "node3"])


def test_lines_for_etc_hosts(lab: Lab) -> None:
    shown = lab.sandbox.exec(
        "login", [SLURMKIT, "run", "--hosts", lab.hosts(), "--etc-hosts"], check=True
    )
    address = lab.sandbox.layout.address
    assert [line.split() for line in shown.stdout.splitlines()] == [
        [address(node), node] for node in NODES
    ]
