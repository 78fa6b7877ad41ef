"""What links of limits, programs, names and storage make of what they read; all links together."""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmkit.doctor.checks import (
    allreduce,
    clock,
    cuda,
    limits,
    memlock,
    mpi,
    mpi_support,
    shm,
    ucx,
)
from slurmkit.doctor.compare import compare
from slurmkit.doctor.link import Answer, Link, Place, passed, unpack
from slurmkit.doctor.reference import markdown
from slurmkit.doctor.registry import GROUPS, all_links, links_of
from slurmkit.health.check import Node
from slurmkit.health.run import run_checks

Put = Callable[[str, str], None]
Look = Callable[..., Answer]
LINKS = {link.id: link for link in all_links()}


@pytest.mark.parametrize(
    ("limit", "hcas", "verdict"),
    [
        (resource.RLIM_INFINITY, True, "pass"),
        (64 << 10, True, "fail"),
        (64 << 10, False, "pass"),
        (4 << 30, True, "warn"),
    ],
)
def test_memlock(limit: int, hcas: bool, verdict: str) -> None:
    assert memlock.judge(limit, hcas).verdict == verdict


def test_limits_of_processes() -> None:
    assert limits.judge(1 << 20, -1).verdict == "pass"
    assert "1024 open files" in limits.judge(1024, -1).detail
    assert "100 processes" in limits.judge(1 << 20, 100).detail


@pytest.mark.parametrize(
    ("size", "free", "verdict"),
    [
        (64 << 20, 64 << 20, "fail"),
        (8 << 30, 1 << 20, "fail"),
        (512 << 20, 512 << 20, "warn"),
        (8 << 30, 1 << 30, "warn"),
        (8 << 30, 7 << 30, "pass"),
    ],
)
def test_shm(size: int, free: int, verdict: str) -> None:
    assert shm.judge(size, free).verdict == verdict


@pytest.mark.parametrize(
    ("skew", "uncertain", "verdict"),
    [
        (0.2, 0.3, "pass"),
        (1.2, 0.3, "pass"),
        (1.5, 0.3, "warn"),
        (-30, 1, "warn"),
        (-70, 1, "fail"),
    ],
)
def test_clocks(skew: float, uncertain: float, verdict: str) -> None:
    assert clock.judge(skew, uncertain).verdict == verdict


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mpirun (Open MPI) 4.1.4\n\nReport bugs to", "Open MPI 4.1.4"),
        ("mpirun (Open MPI) 5.0.7", "Open MPI 5.0.7"),
        (
            "Intel(R) MPI Library for Linux* OS, Version 2021.12 Build 20240213",
            "Intel MPI 2021.12",
        ),
        ("HYDRA build details:\n    Version:                 4.0.2\n", "MPICH 4.0.2"),
        ("something else", ""),
    ],
)
def test_which_mpi(text: str, name: str) -> None:
    assert mpi.kind_of(text) == name


def said(*ranks: tuple[str, int, int, int]) -> list[str]:
    return [f"slurmkit-allreduce {host} {r} {n} {s} Open MPI v4.1.4" for host, r, n, s in ranks]


def test_ranks_that_add_up() -> None:
    lines = ["a banner", *said(("n1", 0, 2, 3), ("n2", 1, 2, 3))]
    found = allreduce.judge(lines, [], ["n1", "n2"])
    assert {a.verdict for a in found.values()} == {"pass"}
    assert found["n1"].detail == "2 ranks add up, by Open MPI v4.1.4"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (said(("n1", 0, 1, 1), ("n2", 0, 1, 1)), "has 1 of 2 ranks"),
        (said(("n1", 0, 2, 2), ("n2", 1, 2, 2)), "MPI_Allreduce gave 2"),
        (said(("n1", 0, 2, 3), ("n2", 0, 2, 3)), "rank 0 is there twice"),
        (said(("n2", 1, 2, 3)), "did not finish: PML ucx cannot be selected"),
    ],
)
def test_ranks_that_do_not(lines: list[str], words: str) -> None:
    complaints = ["-----", "", "PML ucx cannot be selected", "srun: error: n1: task 0"]
    found = allreduce.judge(lines, complaints, ["n1", "n2"])
    assert (found["n1"].verdict, words in found["n1"].detail) == ("fail", True), found


def test_what_open_mpi_was_built_with() -> None:
    text = (
        'mca:pml:ucx:version:"component:4.1.4"\nmca:pml:ob1:version:"component:4.1.4"\n'
        "mca:mpi:base:param:mpi_built_with_cuda_support:value:true\n"
    )
    assert mpi_support.components(text, "pml") == {"ucx", "ob1"}
    assert mpi_support.has_cuda(text)
    assert not mpi_support.has_cuda(text.replace("true", "false"))


def test_the_systems_nccl(tmp_path: Path) -> None:
    (tmp_path / "libnccl.so.2.21.5").touch()
    (tmp_path / "libnccl.so.2").symlink_to("libnccl.so.2.21.5")
    text = f"2 libs found\n\tlibnccl.so.2 (libc6,x86-64) => {tmp_path}/libnccl.so.2\n"
    assert cuda.nccl_of(text) == "2.21.5"
    assert cuda.nccl_of("\tlibc.so.6 (libc6) => /lib/libc.so.6\n") == ""


def test_what_ucx_opens() -> None:
    text = (
        "#      Transport: rc_mlx5\n#         Device: mlx5_0:1\n"
        "#      Transport: cuda_copy\n#         Device: cuda\n"
    )
    assert ucx.read_devices(text) == ({"rc_mlx5", "cuda_copy"}, {"mlx5_0:1", "cuda"})


def test_names_that_do_not_resolve(look: Look) -> None:
    answer = look("names", hosts=("localhost", "no-such-host.invalid"))
    assert answer.verdict == "fail"
    assert "no-such-host.invalid" in answer.detail


def test_names_that_resolve_to_a_loopback_address(look: Look) -> None:
    answer = look("names", host="localhost", hosts=("localhost", "127.0.0.1"))
    assert (answer.verdict, "127.0." in answer.detail) == ("fail", True)
    assert "/etc/hosts" in answer.todo
    others = passed("", {"address of localhost": "10.0.0.1", "address of 127.0.0.1": "10.0.0.2"})
    assert compare(LINKS["names"], {"localhost": answer, "a": others, "b": others}) == []


def test_a_shared_folder(tmp_path: Path, look: Look) -> None:
    known = {"shared_dir": str(tmp_path), "token": "t"}
    assert look("shared", **known).verdict in ("pass", "warn")
    alone = look("shared", **known, hosts=("node1", "node2"), wait_s=0.0)
    assert (alone.verdict, "does not see the file of node2" in alone.detail) == ("fail", True)
    gone = look("shared", shared_dir=str(tmp_path / "gone"), token="t")
    assert (gone.verdict, "is not there" in gone.detail) == ("fail", True)
    assert look("shared").verdict == "skipped"


def test_the_file_system_of_a_shared_folder_is_that_behind_a_link(
    tmp_path: Path, put: Put, look: Look
) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "home").symlink_to("export")
    mounts = f"/dev/sda1 / ext4 rw 0 0\nserver:/e {tmp_path}/export nfs4 rw 0 0\n"
    put("proc/self/mounts", mounts)
    answer = look("shared", shared_dir=f"{tmp_path}/home", token="t")
    assert dict(answer.facts) == {"file system": "nfs4 from server:/e"}
    assert look("cgroup").verdict == "skipped"
    put("proc/self/mounts", f"{mounts}cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    assert look("cgroup").detail == "v2"


def test_what_hangs_or_breaks_holds_up_nothing(look: Look) -> None:
    def hangs(_place: Place) -> Answer:
        time.sleep(60)
        return passed("")

    def breaks(_place: Place) -> Answer:
        raise RuntimeError("a mistake")

    link = LINKS["kernel"].replace(timeout_s=0.3)
    slow, broken = link.replace(id="slow", look=hangs), link.replace(id="broken", look=breaks)
    links: list[Link] = [slow, broken, LINKS["kernel"]]
    place = Place("node1", ("node1",))
    started = time.monotonic()
    found = run_checks([item.check(place, 30.0) for item in links], Node(), within_s=30.0)
    assert time.monotonic() - started < 10
    said = [unpack(item.verdict, item.detail) for item in found]
    assert [said[0].verdict, said[2].verdict] == ["fail", "pass"]
    assert "did not answer within" in said[0].detail
    assert said[1].verdict in ("warn", "fail")
    assert "the check itself" in said[1].detail


def test_links_are_complete_and_in_the_page() -> None:
    page = markdown()
    assert len(LINKS) == len(all_links()) >= 28
    for link in all_links():
        assert link.group in GROUPS
        assert f"| `{link.id}` |" in page
        assert len(link.todo) > 20
        assert link.differs in ("warn", "fail")


def test_only_takes_links_and_groups() -> None:
    assert [link.id for link in links_of(("gids",))] == ["gids"]
    assert {link.group for link in links_of(("fabric",))} == {"fabric"}
    assert not set(LINKS) & set(GROUPS)
    assert "allreduce" not in {link.id for link in (*links_of(()), *links_of(("software",)))}
    assert [link.id for link in links_of(("allreduce",))] == ["allreduce"]
    with pytest.raises(KeyError):
        links_of(("nothing",))
