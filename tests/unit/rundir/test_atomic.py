"""A file is the old one or the whole new one, never half."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from slurmkit.rundir.atomic import atomic_write


def test_writes_text_and_bytes_with_the_mode_asked_for(tmp_path: Path) -> None:
    os.umask(0o077)
    atomic_write(tmp_path / "a", "grüße\n", mode=0o640)
    atomic_write(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_text() == "grüße\n"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o644


def test_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    for text in ("old", "new"):
        atomic_write(tmp_path / "file", text)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "new"


def test_a_failure_keeps_the_old_file_and_leaves_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "inside").touch()
    with pytest.raises(OSError, match="target"):
        atomic_write(tmp_path / "target", "a file cannot replace a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "none" / "file", "x")


def test_readers_never_see_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = 300_000
    atomic_write(path, b"a" * size)
    writer = (
        "import sys\n"
        "from slurmkit.rundir.atomic import atomic_write\n"
        f"for n in range(60): atomic_write(sys.argv[1], bytes([97 + n % 26]) * {size})\n"
    )
    with subprocess.Popen([sys.executable, "-c", writer, str(path)]) as process:
        reads = 0
        while process.poll() is None:
            data = path.read_bytes()
            assert len(data) == size
            assert data == data[:1] * size
            reads += 1
    assert process.returncode == 0
    assert reads > 10
