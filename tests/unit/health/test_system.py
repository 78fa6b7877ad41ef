"""File systems, clocks, processes and the kernel, on prepared trees of /proc and /dev."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.health.checks import (
    clock_sync,
)
from slurmkit.health.checks.clock_skew import judge_skew
from slurmkit.health.verdict import Verdict

Put = Callable[[str, str], None]
Say = Callable[..., Verdict]
Process = Callable[..., None]
HoldsGpu = Callable[[int, str, str], None]
Look = Callable[[str, float], Verdict]


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ("/dev/sda1 / ext4 rw,relatime,errors=remount-ro 0 0", "pass"),
        ("/dev/sda1 / ext4 ro,relatime,errors=remount-ro 0 0", "fail"),
        ("/dev/sdb1 /tmp xfs ro,noatime 0 0", "fail"),
        ("/dev/sdb1 /scratch xfs ro,noatime 0 0", "warn"),
        ("/dev/sdb1 /mnt/nvme xfs ro 0 0", "fail"),
        ("/dev/sda2 /boot ext4 ro 0 0", "pass"),
        ("/dev/sda2 /usr2 ext4 ro 0 0", "warn"),
        ("img /sw squashfs ro 0 0", "pass"),
    ],
)
def test_read_only(mount: str, expected: str, put: Put, say: Say) -> None:
    put("proc/self/mounts", f"proc /proc proc rw 0 0\n{mount}\n")
    assert say("read-only", local_dir=Path("/mnt/nvme")).verdict == expected


def test_mounts(tmp_path: Path, put: Put, say: Say) -> None:
    (tmp_path / "home").mkdir()
    put("proc/self/mounts", "server:/home /home nfs rw 0 0\n")
    assert say("mounts").verdict == "skipped"
    assert say("mounts", mounts=("/home",)).verdict == "pass"
    found = say("mounts", mounts=("/home", "/scratch"))
    assert (found.verdict, found.detail) == ("fail", "/scratch is not mounted")
    assert say("mounts", mounts=("/home/",)).verdict == "pass"
    (tmp_path / "my data").mkdir()
    put("proc/self/mounts", "s:/h /home nfs rw 0 0\ns:/my\\040d /my\\040data nfs rw 0 0\n")
    assert say("mounts", mounts=("/home", "/my data")).verdict == "pass"
    (tmp_path / "home").rmdir()  # as a stale handle: the mount is there, its file system is not
    assert say("mounts", mounts=("/home",)).verdict == "fail"


def test_shared_folder(tmp_path: Path, say: Say) -> None:
    assert say("shared-folder", shared_dir=tmp_path).verdict == "pass"
    assert list(tmp_path.iterdir()) == []
    found = say("shared-folder", shared_dir=tmp_path / "gone")
    assert (found.verdict, found.refuses) == ("fail", True)
    assert say("shared-folder").verdict == "skipped"


def test_local_disk(tmp_path: Path, say: Say) -> None:
    assert say("local-disk", local_dir=tmp_path).verdict in ("pass", "warn")
    assert say("local-disk", local_dir=tmp_path / "gone").verdict == "fail"
    # A file system without a free block, which every Linux has.
    assert say("local-disk", local_dir=Path("/proc")).verdict == "fail"


def test_shared_memory(tmp_path: Path, say: Say) -> None:
    assert say("shared-memory").verdict == "fail"
    (tmp_path / "dev/shm").mkdir(parents=True)
    assert say("shared-memory").verdict in ("pass", "warn")


@pytest.mark.parametrize(
    ("skew_s", "expected"), [(0.2, "pass"), (-0.2, "pass"), (-5.0, "warn"), (100.0, "fail")]
)
def test_clock_skew(skew_s: float, expected: str) -> None:
    assert judge_skew(skew_s).verdict == expected


@pytest.mark.parametrize(
    ("status", "error_s", "expected"), [(0, 0.01, "pass"), (0x40, 16.0, "warn"), (0, 70.0, "fail")]
)
def test_a_clock_without_a_time_server(status: int, error_s: float, expected: str) -> None:
    assert clock_sync.judge(status, error_s, 60.0)[0] == expected


def test_the_clock_of_this_machine_can_be_asked(say: Say) -> None:
    found = say("clock-sync", root=Path("/"))
    assert found.verdict in ("pass", "warn", "fail"), found.detail


def test_processes_of_jobs_that_have_ended(put: Put, say: Say, process: Process) -> None:
    put("proc/10/cmdline", "slurmstepd: [7.batch]")
    process(11, "python train.py", "7")
    process(12, "sshd", "")
    assert say("stray-processes").verdict == "pass"
    process(13, "python old.py", "6")
    found = say("stray-processes")
    assert (found.verdict, found.detail) == ("warn", "13 python (job 6)")


def test_processes_that_are_stuck(process: Process, look: Look) -> None:
    process(20, "dd", state="D")
    assert look("stuck-processes", 0).verdict == "pass"
    assert look("stuck-processes", 1.5).detail == "20 dd"
    process(20, "dd", state="S")
    assert look("stuck-processes", 1.6).verdict == "pass"


@pytest.fixture
def holds_gpu(tmp_path: Path, put: Put, process: Process) -> HoldsGpu:
    """Return what lets a process of a job, or of none, hold a GPU."""

    def start(pid: int, name: str, job: str) -> None:
        put("dev/nvidia0", "")
        process(pid, name, job)
        (tmp_path / f"proc/{pid}/fd").mkdir()
        (tmp_path / f"proc/{pid}/fd/3").symlink_to("/dev/nvidia0")

    return start


def test_a_process_that_still_holds_a_gpu(say: Say, holds_gpu: HoldsGpu) -> None:
    holds_gpu(10, "python", "7")
    holds_gpu(11, "python", "8")
    holds_gpu(12, "python", "")
    found = say("gpu-strays", job_id="8")
    assert found.verdict == "warn"
    assert "10 (job 7, state S)" in found.detail
    assert "11 (" not in found.detail
    assert "12 (job none, state S)" in found.detail


def test_a_gpu_that_is_in_use_is_held_by_no_stray(put: Put, say: Say, holds_gpu: HoldsGpu) -> None:
    holds_gpu(10, "python", "7")
    holds_gpu(20, "nvidia-persistenced", "")
    assert "10 (job 7" in say("gpu-strays").detail
    put("proc/9/cmdline", "slurmstepd: [7.0]\0")
    found = say("gpu-strays")
    assert (found.verdict, found.detail) == ("pass", "2 processes looked at")


def test_slurm_and_munge(say: Say, process: Process) -> None:
    process(1, "init")
    assert say("slurm-daemons").detail == "slurmd does not run"
    process(2, "slurmd")
    assert say("slurm-daemons").verdict == "pass"
    found = say("slurm-daemons", munge_socket="/run/munge/other")
    assert "munged does not take a connection" in found.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mce: [Hardware Error]: Machine check events logged", "machine check: 1"),
        ("INFO: task dd:42 blocked for more than 120 seconds.", "task that hangs: 1"),
        ("EXT4-fs error (device sda1): ext4_find_entry", "file system error: 1"),
        ("usb 1-1: new device", ""),
    ],
)
def test_what_the_kernel_complains_about(text: str, expected: str, put: Put, say: Say) -> None:
    put("proc/uptime", "1000.0 1.0")
    put("dev/kmsg", f"3,1,{int(9e8)},-;{text}\n KEY=value\n")
    found = say("kernel-log")
    assert found.verdict == ("warn" if expected else "pass")
    assert expected in found.detail


def test_accidents_of_the_kernel(put: Put, say: Say) -> None:
    assert say("kernel-taint").verdict == "skipped"
    put("proc/sys/kernel/tainted", "12289\n")  # P, O, E: modules of a GPU node
    assert say("kernel-taint").verdict == "pass"
    put("proc/sys/kernel/tainted", "128\n")
    assert "an oops" in say("kernel-taint").detail
