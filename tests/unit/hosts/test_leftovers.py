"""What a job's processes leave behind is found by the job's mark, and nobody else's is touched."""

import ctypes
import json
import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmkit.launch import leftovers

# What a careless program does: shared memory that it never unlinks, a daemon, a deaf ear to TERM.
_PROGRAM = """
import mmap, os, signal, sys, time, ctypes
name, how = sys.argv[1:]
file = open(f"/dev/shm/{name}", "w+b")
file.truncate(4096)
held = mmap.mmap(file.fileno(), 4096)
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, 4096, 0o600 | 0o1000)
libc.shmat(segment, None, 0)
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how == "daemon":
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    os.waitpid(child, 0)  # so that there are two processes, not three
print(segment, flush=True)
time.sleep(60)
"""


class Program:
    """A running program with a mark in its environment."""

    def __init__(self, mark: str, name: str, how: str = "plain") -> None:
        key, _, value = mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, name, how],
            env={**os.environ, key: value},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.segment = int(self.process.stdout.readline())
        self.file = Path("/dev/shm", name)

    def segment_exists(self) -> bool:
        """Whether its SysV segment is there."""
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return self.segment in [int(line.split()[1]) for line in lines]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.file.unlink(missing_ok=True)
        ctypes.CDLL(None).shmctl(self.segment, 0, None)


@pytest.fixture
def tag() -> str:
    """A word that no other test has."""
    return f"{os.getpid()}x{time.monotonic_ns()}"


@pytest.fixture
def programs(tag: str) -> Iterator[dict[str, Program]]:
    """One of the job, and one of the user's other job."""
    found = {
        "ours": Program(f"SLURM_JOB_ID={tag}", f"any-{tag}-1"),
        "other": Program(f"SLURM_JOB_ID={tag}0", f"nccl-{tag}2"),
    }
    yield found
    for program in found.values():
        program.close()


def test_a_job_goes_and_another_of_the_same_user_stays(
    programs: dict[str, Program], tag: str
) -> None:
    ours, other = programs["ours"], programs["other"]
    found = leftovers.sweep([f"SLURM_JOB_ID={tag}"], folders=())
    assert ours.process.wait(10) == -15
    assert not ours.file.exists()
    assert not ours.segment_exists()
    assert [line.split()[0] for line in found["ended"]] == [str(ours.process.pid)]
    assert str(ours.file) in found["removed"]
    assert other.process.poll() is None
    assert other.file.exists()
    assert other.segment_exists()


def test_shared_memory_of_the_dead_goes_by_its_name(programs: dict[str, Program], tag: str) -> None:
    other = programs["other"]
    other.process.kill()
    other.process.wait()
    leftovers.sweep([f"SLURM_JOB_ID={tag}none"], max_age_s=300, folders=())
    assert not other.file.exists()
    assert not other.segment_exists()
    assert programs["ours"].file.exists(), "it is mapped by a living process"


def test_an_old_segment_of_the_user_stays(programs: dict[str, Program], tag: str) -> None:
    other = programs["other"]
    other.process.kill()
    other.process.wait()
    time.sleep(1.1)  # the kernel counts whole seconds
    leftovers.sweep([f"SLURM_JOB_ID={tag}none"], max_age_s=0.05, folders=())
    assert other.segment_exists()


def test_daemons_and_the_deaf_are_ended(tag: str) -> None:
    mark = f"SLURMKIT_RUN_ID={tag}"
    started = [Program(mark, f"a-{tag}", "deaf"), Program(mark, f"b-{tag}", "daemon")]
    try:
        found = leftovers.sweep([mark], grace_s=0.2, folders=())
        assert len(found["ended"]) == 3
        assert not found["left"]
        assert not leftovers.marked([mark.encode()], os.geteuid())
    finally:
        for program in started:
            program.close()


def test_this_process_is_never_ended() -> None:
    environ = Path("/proc/self/environ").read_bytes().split(b"\0")
    mark = next(entry for entry in environ if entry.startswith(b"PATH="))
    assert os.getpid() not in leftovers.marked([mark], os.geteuid())
    assert os.getppid() not in leftovers.marked([mark], os.geteuid())


def test_sessions_of_open_mpi_go_unless_somebody_is_in_them(tmp_path: Path) -> None:
    top = tmp_path / f"ompi.{os.uname().nodename}.{os.getuid()}"
    for name in ("pid.999999999", f"pid.{os.getpid()}", "jf.1", "jf.2"):
        (top / name / "1").mkdir(parents=True)
    segment = top / "jf.2" / "smseg"
    segment.write_bytes(b"x" * 4096)
    with segment.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        found = leftovers.sweep(["NONE=none"], folders=[str(tmp_path)])
    assert sorted(path.name for path in top.iterdir()) == ["jf.2", f"pid.{os.getpid()}"]
    assert len(found["removed"]) == 2
    (top / f"pid.{os.getpid()}" / "1").rmdir()
    (top / f"pid.{os.getpid()}").rmdir()
    leftovers.sweep(["NONE=none"], folders=[str(tmp_path)])
    assert not top.exists()


def test_sockets_of_multiprocessing_go_with_their_owner(tmp_path: Path) -> None:
    def folder(name: str) -> socket.socket:
        (tmp_path / name).mkdir()
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(tmp_path / name / "listener-1"))
        return made

    folder("pymp-dead").close()  # and not unlinked, as when its process is killed
    (tmp_path / "pymp-new").mkdir()
    with folder("pymp-alive"):
        leftovers.sweep(["NONE=none"], folders=[str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pymp-alive", "pymp-new"]


def test_unknown_files_are_not_ours_to_remove(tmp_path: Path) -> None:
    names = ["results.csv", "ompi", "my-nccl-notes", "torch.py"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "torchelastic_abc").mkdir()
    names.append("torchelastic_abc")
    leftovers.sweep(["NONE=none"], folders=[str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_it_runs_as_text_by_a_bare_python() -> None:
    source = Path(leftovers.__file__).read_text()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-", "--mark", "NONE=none", "--grace-s", "0.1"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert set(json.loads(done.stdout)) == {"ended", "removed", "left"}
