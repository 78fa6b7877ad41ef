"""Disks that are full, slow or stuck, and jobs that are pushed aside: on demand, and gone after."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmkit.errors import UsageError
from slurmkit.sandbox import Disk, Sandbox, SandboxError, machine, take_down

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(os.geteuid() != 0, reason="a sandbox cluster needs root"),
]

_CLI = [sys.executable, "-m", "slurmkit", "sandbox"]


@pytest.fixture(scope="module")
def faulty() -> Iterator[Sandbox]:
    """Two nodes, and a partition whose jobs push others aside with 2 s of grace."""
    with Sandbox.up(f"test-faulty-{os.getpid()}", nodes=2, gpus=0, preempt_grace_s=2) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def sized(faulty: Sandbox) -> Disk:
    return faulty.make_disk("sized", size_mib=32)


@pytest.fixture(scope="module")
def slow(faulty: Sandbox) -> Disk:
    if not Path("/dev/fuse").exists():
        pytest.skip("this machine's kernel has no FUSE")
    return faulty.make_disk("slow", size_mib=64, slow=True)


def _wait(done: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _write(sandbox: Sandbox, disk: Disk, mib: int, host: str = "node1") -> str:
    """Write and sync a file on a host; return what the system said against it."""
    code = (
        "import os, sys\n"
        "try:\n"
        "    with open('written', 'wb') as file:\n"
        f"        file.write(b'x' * ({mib} << 20)); file.flush(); os.fsync(file.fileno())\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
        "finally:\n"
        "    os.unlink('written')\n"
    )
    done = sandbox.exec(host, [sys.executable, "-c", code], cwd=disk.path, check=True)
    return done.stdout.strip()


# -- disks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sized", "slow"])
def test_a_full_disk_is_really_full(
    faulty: Sandbox, kind: str, request: pytest.FixtureRequest
) -> None:
    disk: Disk = request.getfixturevalue(kind)
    assert _write(faulty, disk, 8) == ""
    disk.fill(leave_bytes=4 << 20)
    assert _write(faulty, disk, 3) == ""
    assert _write(faulty, disk, 8) == str(errno.ENOSPC)
    disk.fill()
    assert _write(faulty, disk, 1, "node2") == str(errno.ENOSPC)
    disk.free()
    assert _write(faulty, disk, 8) == ""


@pytest.mark.parametrize("kind", ["sized", "slow"])
def test_all_hosts_see_one_disk_and_this_machine_sees_it_by_the_view(
    faulty: Sandbox, kind: str, request: pytest.FixtureRequest
) -> None:
    disk: Disk = request.getfixturevalue(kind)
    faulty.exec("node1", ["sh", "-c", "echo hello >from-node1"], cwd=disk.path, check=True)
    assert faulty.exec("login", ["cat", "from-node1"], cwd=disk.path).stdout == "hello\n"
    assert (disk.view / "from-node1").read_text() == "hello\n"
    assert not (disk.path / "from-node1").exists()
    faulty.kill("node2")
    faulty.heal("node2")
    assert faulty.exec("node2", ["cat", "from-node1"], cwd=disk.path).stdout == "hello\n"


def test_a_slow_disk_takes_as_long_as_it_is_told(faulty: Sandbox, slow: Disk) -> None:
    def seconds(mib: int) -> float:
        start = time.monotonic()
        assert _write(faulty, slow, mib) == ""
        return time.monotonic() - start

    usual = seconds(8)
    slow.slow(bytes_per_s=8 << 20)
    assert seconds(8) > 1.0
    slow.slow(delay_s=0.2)
    assert seconds(1) > 0.8  # create, write, fsync, unlink: 0.2 s each at least
    slow.slow()
    assert seconds(8) < usual + 0.5


def test_a_stuck_disk_holds_programs_until_it_answers(faulty: Sandbox, slow: Disk) -> None:
    slow.slow(stuck=True)
    process = faulty.popen("node1", ["touch", slow.path / "late"])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    slow.slow()
    assert process.wait(10) == 0
    assert (slow.view / "late").exists()


def test_it_is_a_file_system_like_any_other(faulty: Sandbox, slow: Disk) -> None:
    script = """
set -e
mkdir -p tree/deep && echo one >tree/deep/a && ln tree/deep/a hard && ln -s tree/deep/a soft
[ "$(cat soft)" = one ] && [ "$(stat -c %h hard)" = 2 ]
mv tree/deep/a tree/b && echo two >>tree/b && [ "$(wc -l <hard)" = 2 ]
! rmdir tree 2>/dev/null
rm -r tree hard soft
truncate -s 1M sparse && [ "$(stat -c %s sparse)" = 1048576 ] && chmod 640 sparse
touch -d '2020-01-01 00:00:00 UTC' sparse && [ "$(stat -c '%a %Y' sparse)" = '640 1577836800' ]
seq 1 300 | xargs -I{} touch f{} && [ "$(ls f* | wc -l)" = 300 ] && rm f*
python3 - <<'END'
import fcntl, mmap
with open("sparse", "r+b") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    with mmap.mmap(file.fileno(), 0) as memory:
        memory[10:15] = b"hello"
assert open("sparse", "rb").read(20)[10:15] == b"hello"
END
rm sparse
"""
    done = faulty.exec("node1", ["bash", "-c", script], cwd=slow.path)
    assert done.returncode == 0, done.stderr
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    mine = faulty.exec("node2", [*user, "sh", "-c", "umask 27; touch mine"], cwd=slow.path)
    assert mine.returncode == 0, mine.stderr
    found = (slow.view / "mine").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65534, 0o640)


def test_disks_are_told_what_they_cannot(faulty: Sandbox, sized: Disk) -> None:
    with pytest.raises(UsageError, match="not made to be slowed"):
        sized.slow(delay_s=1)
    with pytest.raises(SandboxError, match="there already"):
        faulty.make_disk("sized")
    with pytest.raises(UsageError, match="no disk other"):
        faulty.disk("other")
    plain = faulty.make_disk("plain")
    with pytest.raises(UsageError, match="no size of its own"):
        plain.fill()


def test_a_crash_with_a_stuck_disk_leaves_nothing() -> None:
    name = f"test-one-{os.getpid()}"
    try:
        sandbox = Sandbox.up(name, nodes=1, gpus=0)
        disk = sandbox.make_disk("slow", slow=True)
        disk.slow(stuck=True)
        waiting = sandbox.popen("node1", ["touch", disk.path / "never"])
        room = machine.room(sandbox.layout)
        assert room
        room.send(9)
        waiting.wait(20)
        _wait(lambda: not room.alive())
    finally:
        assert take_down(name)
    assert not sandbox.layout.state_dir.exists()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (process / "cmdline").exists():
            try:
                words = (process / "cmdline").read_text()
            except OSError:  # it has ended meanwhile
                continue
            assert f"/{name}/" not in words


# -- preemption --------------------------------------------------------------------------------

_JOB = """#!/bin/sh
trap 'echo "TERM $(date +%s)" >>{out}' TERM
echo "start ${{SLURM_RESTART_COUNT:-0}}" >>{out}
while :; do sleep 0.1; echo "alive $(date +%s)" >>{out}.alive; done
"""


def _preempt_one(sandbox: Sandbox, grace_s: int) -> None:
    out = sandbox.shared_dir / f"preempted-{sandbox.name}"
    script = _JOB.format(out=out)
    command = ["sbatch", "--parsable", "--requeue", "-N2", "--ntasks=2", "-o", "/dev/null"]
    job = sandbox.exec("login", command, input=script, check=True).stdout.strip().split(";")[0]
    _wait(lambda: out.exists() and "start 0" in out.read_text())
    before = time.time()
    urgent = sandbox.preempt(job, hold_s=30)
    waited_s = time.time() - before
    assert "TERM" in out.read_text(), "the batch script is told"
    assert waited_s >= grace_s - 1
    state = sandbox.exec("login", ["squeue", "-h", "-j", f"{job},{urgent}", "-O", "JobID,State"])
    assert dict(line.split() for line in state.stdout.splitlines()) == {
        job: "PENDING",
        urgent: "RUNNING",
    }
    alive = Path(f"{out}.alive").read_text()
    assert time.time() - float(alive.split()[-1]) < 30
    sandbox.exec("login", ["scancel", job, urgent], check=True)
    with pytest.raises(UsageError, match="does not run"):
        sandbox.preempt(job)


def test_a_job_is_preempted_by_partition(faulty: Sandbox) -> None:
    _preempt_one(faulty, 2)


@pytest.mark.long
def test_a_job_is_preempted_by_qos() -> None:
    name = f"test-one-{os.getpid()}"
    with Sandbox.up(name, nodes=2, gpus=0, accounting=True, preempt_grace_s=2) as sandbox:
        _preempt_one(sandbox, 2)


def test_without_a_more_important_partition_nothing_is_preempted() -> None:
    with (
        Sandbox.up(f"test-one-{os.getpid()}", nodes=1, gpus=0) as sandbox,
        pytest.raises(UsageError, match="--preempt-grace"),
    ):
        sandbox.preempt("1")


def test_the_commands(faulty: Sandbox) -> None:
    def run(*words: str) -> str:
        env = {**os.environ, "SLURMKIT_SANDBOX": faulty.name}
        done = subprocess.run(
            [*_CLI, *words], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")

    assert run("disk", "small", "--size", "8M") == f"{faulty.shared_dir / 'small'}\n"
    assert run("fill", "small") == "disk small: 8 MiB taken\n"
    assert _write(faulty, faulty.disk("small"), 1) == str(errno.ENOSPC)
    assert run("free", "small") == ""
    assert _write(faulty, faulty.disk("small"), 1) == ""
    assert "not made to be slowed" in run("slow", "small", "--delay", "1")
    assert run("slow", "small", "--rate", "fast").endswith("exit 2")
    assert run("preempt", "4711").endswith(("exit 1", "exit 2"))
