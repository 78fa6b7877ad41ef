"""site check with a real slurmctld: good sites, seeded faults, and nothing left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmkit.sandbox import SandboxUnavailableError, rootfs
from slurmkit.site import generation
from slurmkit.site.generate.release import Release
from slurmkit.sitecheck import boot
from slurmkit.sitecheck.report import check_site

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from site_faults import SEEDS, Editor, Seed

sys.path.pop(0)

ROOT = Path(__file__).parents[2]
SHIPPED = ("dgx-h100", "hgx-b300-roce", "sandbox")
#: Faults that slurmctld itself complains of, in other words or at other places each.
SOME = (
    *("no-equals", "typo", "typo-gres", "twice", "no-number", "no-boolean", "plugin-typo"),
    *("no-cluster-name", "node-twice", "arithmetic", "addresses", "unknown-node", "switch-unknown"),
    *("preempt-suspend", "program-mode"),
)

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(os.geteuid() != 0, reason="a slurmctld in a room of its own needs root"),
]


def engine(suite: str) -> boot.Engine:
    """Return the slurmctld of this machine or of a Debian suite, made where it is missing."""
    if suite != "host":
        try:
            rootfs.prepare(suite, print)
        except SandboxUnavailableError as error:
            pytest.skip(f"no {suite} on this machine: {error.message}")
    place = "this machine" if suite == "host" else f"the sandbox's {suite}"
    found = [one for one in boot.engines() if one.place == place]
    if not found:
        pytest.skip("there is no slurmctld on this machine")
    return found[0]


@pytest.fixture(scope="module", params=["host", "trixie", "forky"])
def release(request: pytest.FixtureRequest) -> Release:
    """Each release that is really here in turn."""
    return engine(request.param).release.major


@pytest.fixture(scope="module")
def host_release() -> Release:
    return engine("host").release.major


def generated(name: str, release: Release, folder: Path) -> Path:
    shipped = str(ROOT / "site-configs" / name)
    generation.run(shipped, version=str(release), output=folder, check=False, force=False)
    return folder


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_site_has_no_fault_in_a_real_slurmctld(
    name: str, release: Release, tmp_path: Path
) -> None:
    report = check_site(generated(name, release, tmp_path / name), str(release))
    assert report.problems == ()
    assert Release.parse(report.booted).major == release


def check_seed(seed: Seed, release: Release, good: Path, folder: Path) -> None:
    shutil.copytree(good, folder)
    editor = Editor(folder)
    name, line = seed.edit(editor)
    report = check_site(folder, str(release))
    found = {
        (problem.where.file, problem.where.line, problem.code)
        for problem in report.problems
        if problem.where
    }
    assert (str(editor.path(name)), line, seed.code) in found


@pytest.fixture(scope="module")
def good(host_release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated("dgx-h100", host_release, tmp_path_factory.mktemp("good") / "dgx-h100")


@pytest.mark.parametrize("name", SOME)
def test_a_seeded_fault_is_found(
    name: str, host_release: Release, good: Path, tmp_path: Path
) -> None:
    seed = next(seed for seed in SEEDS if seed.name == name)
    check_seed(seed, host_release, good, tmp_path / "site")


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS, ids=[seed.name for seed in SEEDS])
def test_every_seeded_fault_is_found_in_every_release(
    seed: Seed, release: Release, tmp_path: Path
) -> None:
    early = bool(seed.since) and not release.at_least(seed.since)
    if early or (seed.until and release.at_least(seed.until)):
        pytest.skip(f"no fault in {release}")
    good = generated("dgx-h100", release, tmp_path / "good")
    check_seed(seed, release, good, tmp_path / "site")


BARE = """ClusterName=bare
SlurmctldHost=anywhere(192.0.2.7)
SlurmUser=nobody-here
StateSaveLocation=/var/spool/slurmctld
SlurmctldPort=7000-7002
{extra}
NodeName=n[1-4] CPUs=4 RealMemory=4000
PartitionName=all Nodes=n[1-4] Default=YES
"""


def bare(folder: Path, extra: str) -> Path:
    folder.mkdir()
    (folder / "slurm.conf").write_text(BARE.format(extra=extra))
    return folder


@pytest.mark.parametrize(
    ("extra", "line", "words"),
    [
        # What only slurmctld knows: that no rule reads these is what makes them a test of the boot.
        ("BurstBufferType=burst_buffer/lua", 6, "burst_buffer"),
        ("Licenses=matlab:x", 6, "icense"),
    ],
)
def test_what_only_slurmctld_knows_is_read_back(
    extra: str, line: int, words: str, host_release: Release, tmp_path: Path
) -> None:
    folder = bare(tmp_path / "bare", extra)
    found = [
        problem
        for problem in check_site(folder, str(host_release)).problems
        if problem.code.startswith(("slurmctld", "changed"))
    ]
    assert found
    assert any(problem.where and problem.where.line == line for problem in found)
    assert any(words in problem.message for problem in found)


def test_a_bare_folder_of_a_host_that_is_not_this_one_comes_up(
    host_release: Release, tmp_path: Path
) -> None:
    report = check_site(bare(tmp_path / "bare", ""), str(host_release))
    assert [problem for problem in report.problems if not problem.warning] == []
    assert report.booted


@pytest.mark.parametrize(
    "extra",
    [
        "AuthAltTypes=auth/jwt\nAuthAltParameters=jwt_key=/etc/slurm/jwt_hs256.key",
        "PluginDir=/opt/slurm/lib/slurm",
        "SuspendTime=300\nSuspendProgram=/opt/off\nResumeProgram=/opt/on\nReturnToService=2",
    ],
)
def test_what_only_the_controller_has_is_left_out(
    extra: str, release: Release, tmp_path: Path
) -> None:
    report = check_site(bare(tmp_path / "bare", extra), str(release))
    assert [problem for problem in report.problems if not problem.warning] == []
    assert report.booted
    assert any("tried without" in note for note in report.notes) is ("Suspend" not in extra)


def mounts() -> list[str]:
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Yield number and name of every process below one."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            name = stat.partition("(")[2].rpartition(")")[0]
            parent = int(stat.rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append((int(entry.name), name))
    waiting = [pid]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            yield child
            waiting.append(child[0])


def test_a_kill_leaves_nothing_behind(good: Path, tmp_path: Path) -> None:
    before, there = mounts(), sorted(Path("/mnt").iterdir())
    program = [Path(sys.executable).with_name("slurmkit"), "site", "check", good]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        inside: list[int] = []
        while not inside and process.poll() is None and time.monotonic() < deadline:
            family = list(descendants(process.pid))
            if any(name == "slurmctld" for _, name in family):
                inside = [number for number, _ in family]
        assert inside, "no slurmctld was seen"
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 10
    while left := [number for number in inside if alive(number)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.01)
    # Tests beside this one may have mounts of their own; the room's lie below /mnt.
    assert [path for path in mounts() if path not in before and path.startswith("/mnt")] == []
    assert sorted(Path("/mnt").iterdir()) == there


def alive(pid: int) -> bool:
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_nothing_outside_is_touched(good: Path) -> None:
    """The room's files, users and sockets are its own, and the site's folders are made in it."""

    def picture() -> dict[str, float]:
        folders = ("/run/munge", "/etc/slurm", "/var/log/slurm", "/shared", "/run/check")
        return {name: Path(name).stat().st_mtime for name in folders if Path(name).exists()}

    before, users = picture(), Path("/etc/passwd").read_bytes()
    assert check_site(good).problems == ()
    assert picture() == before
    assert Path("/etc/passwd").read_bytes() == users
