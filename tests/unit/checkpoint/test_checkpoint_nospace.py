"""A full disk, a full quota, a file size limit: the save fails, and nothing that counts is lost."""

import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from slurmkit.checkpoint.errors import NoSpaceError, SaveFailedError
from slurmkit.checkpoint.store import CheckpointStore

FULL_DISK = """
    import os, sys
    from pathlib import Path
    from slurmkit.checkpoint.errors import NoSpaceError
    from slurmkit.checkpoint.store import CheckpointStore

    folder = Path(sys.argv[1]) / "ckpt"
    store = CheckpointStore(folder, keep=1)

    def save(step, size):
        first, second = store.begin(step), store.begin(step)
        for rank, writer in ((0, first), (1, second)):
            try:
                with writer.open(f"rank-{rank}") as file:
                    for _ in range(size // 4096):
                        file.write(os.urandom(4096))
                writer.report(rank, [file.close()])
            except NoSpaceError as error:
                writer.fail(rank, error)
        return first.commit(first.await_reports(2, 10))

    save(1, 300_000)
    # while data is written
    try:
        save(2, 900_000)
        sys.exit("the second save cannot have fitted")
    except NoSpaceError as error:
        assert "rank 1" in str(error) or "rank 0" in str(error), error
        print(error)
    assert store.newest().step == 1 and store.dir.temporaries() == [], os.listdir(folder)
    # for the manifest: the last bytes are gone when every rank has reported
    first = store.begin(3)
    with first.open("a") as file:
        file.write(b"1")
    first.report(0, [file.close()])
    reports = first.await_reports(1, 10)
    try:
        with open(folder.parent / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
    except OSError:
        pass
    try:
        first.commit(reports, extra={"much": "x" * 20_000})
        sys.exit("the manifest cannot have fitted")
    except NoSpaceError as error:
        print(error)
    assert store.newest().step == 1 and store.dir.temporaries() == [], os.listdir(folder)
    # with no room for a report, either
    try:
        save(4, 300_000)
        sys.exit("the fourth save cannot have fitted")
    except NoSpaceError as error:
        print(error)
    assert store.newest().step == 1 and store.dir.temporaries() == [], os.listdir(folder)
    # and with room again it works
    (folder.parent / "filler").unlink()
    save(5, 300_000)
    assert store.newest().step == 5
    store.prune()
    assert store.dir.steps() == [5]
    print("survived")
"""


def test_a_full_disk_fails_saves_and_loses_no_step(tmp_path):
    """A tmpfs of 1.5 MiB in a mount namespace of its own."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("mounting a small tmpfs needs root and unshare")
    program = tmp_path / "full_disk.py"
    program.write_text(textwrap.dedent(FULL_DISK))
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=1536k tmpfs "$1" && exec "$2" "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", disk, sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("survived\n")
    assert "No space left on device" in done.stdout


def test_a_file_size_limit_fails_the_save_and_not_the_job(folder, save):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"1"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        writer = store.begin(2)
        file = writer.open("b")
        with pytest.raises(NoSpaceError, match="File too large") as caught:
            file.write(bytes(300_000))
        file.discard()
        writer.fail(0, caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(NoSpaceError, match=r"rank 0 .*File too large"):
        store.begin(2).await_reports(1, 5)
    assert [path.name for path in folder.iterdir()] == ["step-0000000001"]


def test_a_file_that_failed_once_cannot_be_closed_as_good(folder, monkeypatch):
    """torch's writer threads once lost an ENOSPC and reported success."""
    writer = CheckpointStore(folder).begin(1)
    file = writer.open("a")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(NoSpaceError):
        file.write(b"12345")
    monkeypatch.setattr(os, "write", real)
    with pytest.raises(SaveFailedError, match="not written completely"):
        file.close()


def test_short_writes_are_continued(folder, monkeypatch):
    writer = CheckpointStore(folder).begin(1)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    with writer.open("a") as file:
        file.write(bytes(range(200)))
    monkeypatch.undo()
    assert (writer.path / "a").read_bytes() == bytes(range(200))
    assert writer.adopt("a") == file.close()


@pytest.mark.parametrize("call", ["fsync", "close"])
def test_an_error_at_the_end_of_a_file_fails_it(folder, monkeypatch, call):
    """Where a full quota on NFS shows: what write(2) took is refused by fsync(2) or close(2)."""
    writer = CheckpointStore(folder).begin(1)
    file = writer.open("a")
    file.write(b"1")
    real = getattr(os, call)

    def refuse(descriptor: int) -> None:
        real(descriptor)
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(NoSpaceError, match="quota"):
        file.close()
    monkeypatch.undo()
    with pytest.raises(SaveFailedError):
        file.close()


def test_a_disk_that_fills_up_before_the_parent_is_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveFailedError, match="cannot be made"):
        CheckpointStore(Path(tmp_path / "file" / "ckpt"))
