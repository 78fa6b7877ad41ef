"""What a sandbox takes from the machine: mirrors, folders, programs; and the scripts it writes."""

import ipaddress
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.errors import UsageError
from slurmkit.sandbox import enter, programs, record, rootfs, scripts, shims
from slurmkit.sandbox.apt_sources import debian_mirror
from slurmkit.sandbox.layout import Layout, Size
from slurmkit.sandbox.record import SandboxUnavailableError
from slurmkit.sandbox.surroundings import outermost, work_tree

DEB822 = """\
Types: deb
URIs: http://deb.example.org/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm

# A comment.
Types: deb deb-src
URIs: http://deb.example.org/debian
Suites: bookworm bookworm-updates
Components: main
"""


def test_the_mirror_of_deb822_sources(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(DEB822)
    (folder / "a.list").write_text("deb [signed-by=/x] https://other.example.org/apt cloud main\n")
    assert debian_mirror(tmp_path) == "http://deb.example.org/debian"


def test_the_mirror_of_one_line_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example.org/debian bookworm main\n"
        "deb-src http://src.example.org/debian bookworm main\n"
        "deb cdrom:[Debian] bookworm main\n"
        "deb [arch=amd64 signed-by=/k] https://deb.example.org/debian trixie main contrib\n"
    )
    assert debian_mirror(tmp_path) == "https://deb.example.org/debian"


def test_no_mirror(tmp_path: Path) -> None:
    assert debian_mirror(tmp_path) == ""


paths = st.lists(st.sampled_from(["a", "b", "c"]), max_size=4).map(lambda p: Path("/", *p))


@given(st.lists(paths, max_size=8))
def test_shared_folders_cover_all_and_none_lies_in_another(wanted: list[Path]) -> None:
    kept = outermost(wanted)
    assert not any(a in b.parents for a in kept for b in kept)
    assert all(any(k == p or k in p.parents for k in kept) for p in wanted)
    assert len(set(kept)) == len(kept)


def test_the_work_tree_is_where_git_is(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert work_tree(deep) == tmp_path


def test_missing_programs_name_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailableError) as caught:
        programs.require_programs(programs.HOST_PROGRAMS)
    assert "slurmctld, slurmd" in caught.value.message
    for package in ("munge", "slurmd", "slurm-client", "iproute2", "util-linux"):
        assert f" {package}" in caught.value.hint


@pytest.mark.parametrize(
    ("printed", "version"), [("slurm-wlm 22.05.8\n", (22, 5)), ("slurm 26.05.5-1\n", (26, 5))]
)
def test_slurm_versions(printed: str, version: tuple[int, int]) -> None:
    assert programs.parse_version(printed) == version


def test_releases_that_do_not_exist_are_refused() -> None:
    for release in ("22.05", "Forky", "../x", ""):
        with pytest.raises(UsageError, match="no Debian suite"):
            rootfs.prepare(release, lambda _: None)


def test_stand_ins_are_not_found_on_a_host() -> None:
    path = f"/a/{enter.SHIM_FOLDER}:/usr/bin:/b/{enter.SHIM_FOLDER}:/bin"
    assert enter.without_shims(path) == "/usr/bin:/bin"


@pytest.fixture(params=["host", "forky"])
def awkward(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    """A layout with blanks in every path."""
    state = tmp_path / "a state & more"
    state.mkdir()
    return Layout(
        name="demo",
        state_dir=state,
        subnet=ipaddress.IPv4Network("10.96.4.0/22"),
        size=Size(nodes=2),
        release=request.param,
        root_dir=None if request.param == "host" else tmp_path / "root fs",
        shared=(Path("/tmp/work tree"), Path("/data/a'b"), Path("/home")),
    )


def test_scripts_are_clean_shell(awkward: Layout) -> None:
    texts = [scripts.room_script(awkward), scripts.host_script(awkward, "node1")]
    folder = shims.write_shims(awkward)
    texts += [path.read_text() for path in folder.iterdir()]
    texts.append(f"#!/bin/sh\n{shims.shell_lines(awkward)}")
    for text in texts:
        subprocess.run(["sh", "-n"], input=text, text=True, check=True, timeout=10)
    if shutil.which("shellcheck"):
        for text in dict.fromkeys(texts[:3]):
            checked = subprocess.run(
                ["shellcheck", "-"],
                input=text,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert checked.returncode == 0, checked.stdout


def test_hidden_work_trees_are_put_back(awkward: Layout) -> None:
    ((path, keep),) = scripts.hidden_shares(awkward)
    assert path == Path("/tmp/work tree")
    assert f"mount --rbind '{path}'" in scripts.room_script(awkward)
    assert f"'{path}'\n" in scripts.host_script(awkward, "login")
    assert keep.is_relative_to(awkward.state_dir)


def test_records_survive_writing_and_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMKIT_SANDBOX_ROOT", str(tmp_path))
    layout = Layout(
        name="demo",
        state_dir=record.state_dir("demo"),
        subnet=ipaddress.IPv4Network("10.96.4.0/22"),
        size=Size(nodes=7, gpu_type=""),
        release="forky",
        root_dir=Path("/cache/forky"),
        shared=(Path("/a"), Path("/b")),
        slurm_conf=("A=1",),
    )
    layout.state_dir.mkdir()
    record.write_record(layout, record.PHASE_UP)
    assert record.read_record("demo") == (layout, record.PHASE_UP)
    assert record.sandbox_names() == ["demo"]
    assert record.recorded_subnets() == [layout.subnet]
    assert record.read_record("other") is None
    with record.locked("demo"):
        assert (tmp_path / ".demo.lock").exists()
    assert not (tmp_path / ".demo.lock").exists()
    assert list(tmp_path.iterdir()) == [layout.state_dir]
