"""Each check on prepared trees, and running them so that none holds up the others."""

import json
import os
import re
import time
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from slurmkit.api.health import check_node
from slurmkit.api.schemas import schema_of
from slurmkit.cli.app import app
from slurmkit.errors import UsageError
from slurmkit.health.check import Check, Found, Node, passed
from slurmkit.health.checks.clock_skew import judge_skew
from slurmkit.health.checks.gpu_memory import judge
from slurmkit.health.config import HealthConfigError
from slurmkit.health.nvidia import Gpu
from slurmkit.health.reference import markdown
from slurmkit.health.registry import all_checks, checks_of
from slurmkit.health.run import preflight, run_checks
from slurmkit.health.verdict import Verdict, from_fields, worst
from slurmkit.topology.fake_sysfs import write_sysfs
from slurmkit.topology.model import Topology
from slurmkit.topology.profile import load_profile

ROOT = Path(__file__).parents[3]
CHECKS = {check.id: check for check in all_checks()}


def put(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def say(check: str, root: Path, **known: object) -> Verdict:
    return CHECKS[check].run(Node(root=root, **known))  # type: ignore[arg-type]


def meminfo(total_gib: float, free_gib: float, **more: int) -> str:
    lines = [f"MemTotal: {int(total_gib * 2**20)} kB", f"MemAvailable: {int(free_gib * 2**20)} kB"]
    for name, value in more.items():
        lines.append(f"{name}: {value}" + (" kB" if name == "Hugepagesize" else ""))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("free", "expected"), [(50, "pass"), (9, "warn"), (1, "fail")], ids=["much", "some", "little"]
)
def test_memory(tmp_path: Path, free: float, expected: str) -> None:
    put(tmp_path, "proc/meminfo", meminfo(100, free))
    assert say("memory", tmp_path).verdict == expected


def test_unused_huge_pages(tmp_path: Path) -> None:
    pages = {"HugePages_Total": 20000, "HugePages_Free": 10000, "Hugepagesize": 2048}
    put(tmp_path, "proc/meminfo", meminfo(100, 50, **pages))
    assert say("hugepages", tmp_path).verdict == "warn"
    put(tmp_path, "proc/meminfo", meminfo(100, 50, **{**pages, "HugePages_Free": 10}))
    assert say("hugepages", tmp_path).verdict == "pass"


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
def test_read_only(tmp_path: Path, mount: str, expected: str) -> None:
    put(tmp_path, "proc/self/mounts", f"proc /proc proc rw 0 0\n{mount}\n")
    assert say("read-only", tmp_path, local_dir=Path("/mnt/nvme")).verdict == expected


def test_shared_folder(tmp_path: Path) -> None:
    assert say("shared-folder", tmp_path, shared_dir=tmp_path).verdict == "pass"
    assert list(tmp_path.iterdir()) == []
    found = say("shared-folder", tmp_path, shared_dir=tmp_path / "gone")
    assert (found.verdict, found.refuses) == ("fail", True)
    assert say("shared-folder", tmp_path).verdict == "skipped"


def test_local_disk(tmp_path: Path) -> None:
    assert say("local-disk", tmp_path, local_dir=tmp_path).verdict in ("pass", "warn")
    assert say("local-disk", tmp_path, local_dir=tmp_path / "gone").verdict == "fail"
    # A file system without a free block, which every Linux has.
    assert say("local-disk", tmp_path, local_dir=Path("/proc")).verdict == "fail"


def test_shared_memory(tmp_path: Path) -> None:
    assert say("shared-memory", tmp_path).verdict == "fail"
    (tmp_path / "dev/shm").mkdir(parents=True)
    assert say("shared-memory", tmp_path).verdict in ("pass", "warn")


def test_gpu_count(tmp_path: Path) -> None:
    write_sysfs(load_profile("dgx-h100"), tmp_path)
    for index in range(8):
        put(tmp_path, f"dev/nvidia{index}", "")
    put(tmp_path, "dev/nvidiactl", "")
    assert say("gpu-count", tmp_path).verdict == "pass"
    assert say("gpu-count", tmp_path, num_gpus=8).verdict == "pass"
    (tmp_path / "dev/nvidia3").unlink()
    found = say("gpu-count", tmp_path)
    assert (found.verdict, found.drains) == ("fail", True)
    assert "7" in found.detail
    assert say("gpu-count", tmp_path / "bare").verdict == "skipped"
    assert say("gpu-count", tmp_path / "bare", num_gpus=4).verdict == "fail"


def record(seconds: float, text: str) -> str:
    return f"4,1,{int(seconds * 1e6)},-;{text}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (record(99_000, "NVRM: Xid (PCI:0000:1b:00): 79, GPU is gone"), "fail"),
        (record(99_000, "NVRM: Xid (PCI:0000:1b:00): 63, a row"), "warn"),
        (record(99_000, "NVRM: Xid (PCI:0000:1b:00): 13, a program"), "pass"),
        (record(1_000, "NVRM: Xid (PCI:0000:1b:00): 79, long ago"), "pass"),
        ("", "pass"),
    ],
)
def test_gpu_xid(tmp_path: Path, text: str, expected: str) -> None:
    put(tmp_path, "proc/uptime", "100000.0 1.0")
    put(tmp_path, "dev/kmsg", text)
    found = say("gpu-xid", tmp_path)
    assert found.verdict == expected
    if expected == "fail":
        assert "0000:1b:00" in found.detail


def test_gpu_xid_where_users_may_not_look(tmp_path: Path) -> None:
    assert say("gpu-xid", tmp_path).verdict == "skipped"


def test_gpu_memory() -> None:
    assert judge([Gpu(0)])[0] == "pass"
    assert judge([Gpu(0), Gpu(1, pending=True)])[0] == "warn"
    assert judge([Gpu(0, corrected=5000)])[0] == "warn"
    verdict, detail = judge([Gpu(3, uncorrected=2)])
    assert (verdict, detail) == ("fail", "GPU 3: 2 uncorrected ECC errors")
    assert judge([Gpu(0, failed_remap=True)])[0] == "fail"


def holds_gpu(root: Path, pid: int, name: str, job: str) -> None:
    put(root, "dev/nvidia0", "")
    put(root, f"proc/{pid}/stat", f"{pid} ({name}) S 1")
    put(root, f"proc/{pid}/comm", f"{name[:15]}\n")
    put(root, f"proc/{pid}/environ", f"A=b\0SLURM_JOB_ID={job}\0" if job else "A=b\0")
    (root / f"proc/{pid}/fd").mkdir()
    (root / f"proc/{pid}/fd/3").symlink_to("/dev/nvidia0")


def test_a_process_that_still_holds_a_gpu(tmp_path: Path) -> None:
    holds_gpu(tmp_path, 10, "python", "7")
    holds_gpu(tmp_path, 11, "python", "8")
    holds_gpu(tmp_path, 12, "python", "")
    found = say("gpu-strays", tmp_path, job_id="8")
    assert found.verdict == "warn"
    assert "10 (job 7, state S)" in found.detail
    assert "11 (" not in found.detail
    assert "12 (job none, state S)" in found.detail


def test_a_gpu_that_is_in_use_is_held_by_no_stray(tmp_path: Path) -> None:
    holds_gpu(tmp_path, 10, "python", "7")
    holds_gpu(tmp_path, 20, "nvidia-persistenced", "")
    assert "10 (job 7" in say("gpu-strays", tmp_path).detail
    put(tmp_path, "proc/9/cmdline", "slurmstepd: [7.0]\0")
    found = say("gpu-strays", tmp_path)
    assert (found.verdict, found.detail) == ("pass", "2 processes looked at")


def fabric(tmp_path: Path) -> list[Path]:
    topology: Topology = load_profile("dgx-h100")
    write_sysfs(topology, tmp_path)
    ports = []
    for device in sorted((tmp_path / "sys/class/infiniband").iterdir()):
        (device.resolve() / "board_id").write_text("MT_0\n")
        port = device.resolve() / "ports/1"
        port.mkdir(parents=True, exist_ok=True)
        (port / "state").write_text("4: ACTIVE\n")
        (port / "rate").write_text("400 Gb/sec (4X NDR)\n")
        (port / "link_layer").write_text("InfiniBand\n")
        ports.append(port)
    return ports


def test_rdma_ports(tmp_path: Path) -> None:
    ports = fabric(tmp_path)
    assert len(ports) > 4
    assert say("rdma-ports", tmp_path).verdict == "pass"
    (ports[2] / "rate").write_text("200 Gb/sec (2X NDR)\n")
    found = say("rdma-ports", tmp_path)
    assert (found.verdict, found.drains) == ("fail", True)
    assert "200 of 400" in found.detail
    (ports[2] / "rate").write_text("400 Gb/sec (4X NDR)\n")
    (ports[2] / "state").write_text("1: DOWN\n")
    assert "DOWN" in say("rdma-ports", tmp_path).detail
    for port in ports:
        (port / "state").write_text("1: DOWN\n")
    assert say("rdma-ports", tmp_path).verdict == "warn"
    assert say("rdma-ports", tmp_path / "bare").verdict == "skipped"


@pytest.mark.parametrize(
    ("skew_s", "expected"), [(0.2, "pass"), (-0.2, "pass"), (-5.0, "warn"), (100.0, "fail")]
)
def test_clock_skew(skew_s: float, expected: str) -> None:
    assert judge_skew(skew_s).verdict == expected


def _sleeps(_node: Node) -> Found:
    time.sleep(60)
    return passed()


def _dies(_node: Node) -> Found:
    os._exit(3)


def test_a_check_that_hangs_fails_and_holds_up_nobody(tmp_path: Path) -> None:
    def check(name: str, function: object, timeout_s: float) -> Check:
        return Check(
            id=name,
            reads="",
            limits="",
            action="refuse",
            function=function,  # type: ignore[arg-type]
            blocking=True,
            timeout_s=timeout_s,
        )

    checks = [check("hangs", _sleeps, 0.4), check("dies", _dies, 5.0), CHECKS["memory"]]
    started = time.monotonic()
    found = {item.check: item for item in run_checks(checks, Node(), within_s=10.0)}
    assert time.monotonic() - started < 3.0
    assert found["hangs"].verdict == "fail"
    assert "within 0.4 s" in found["hangs"].detail
    assert found["dies"].verdict == "fail"
    assert found["memory"].verdict in ("pass", "warn")


def test_a_quick_preflight_is_quick(tmp_path: Path) -> None:
    started = time.monotonic()
    found = preflight("quick", folder=tmp_path, num_gpus=None, within_s=9.0)
    assert time.monotonic() - started < 2.0
    assert [item.check for item in found] == [check.id for check in checks_of("quick")]
    assert "gpu-memory" not in {item.check for item in found}


def test_verdicts_travel() -> None:
    verdict = Verdict("a", "fail", "b", "drain")
    assert from_fields({**verdict.fields(), "new": 1}) == verdict
    assert worst([verdict, Verdict("c", "pass")]) == "fail"
    assert worst([Verdict("c", "skipped")]) == "pass"
    assert worst([]) == "pass"


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    done = run(app, ["health", "check", "--json", "--shared", str(tmp_path), "--only", "memory"])
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [item["check"] for item in said["checks"]] == ["memory"]
    jsonschema.validate(said, schema_of("health-check"))
    bad = run(app, ["health", "check", "--only", "gpu-count", "--gpus", "1000"])
    assert bad.exit_code == 1
    assert "fail" in bad.stdout
    done = run(app, ["health", "check", "--config", str(tmp_path / "gone.json")])
    assert isinstance(done.exception, HealthConfigError)
    assert (done.exception.exit_code, "gone.json: No such file" in str(done.exception)) == (2, True)
    with pytest.raises(UsageError, match="no check 'colour'"):
        check_node(only=("colour",))


def test_every_check_is_complete_and_on_the_page() -> None:
    assert len(CHECKS) == len(all_checks())
    modules = {path.stem for path in (ROOT / "slurmkit/health/checks").glob("[a-z]*.py")}
    assert {name.replace("-", "_") for name in CHECKS} == modules
    page = (ROOT / "docs/reference/health-checks.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- begin checks -->\n(.*?)<!-- end checks -->", page, re.DOTALL)
    assert found
    assert found[1].strip() == markdown()
