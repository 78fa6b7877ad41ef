"""What reaches the disk before what, as a power cut loses the rest; and what broken disks do."""

import errno
import io
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.checkpoint import assembly, verify
from slurmkit.checkpoint.errors import CheckpointError, NoSpaceError
from slurmkit.checkpoint.hdf5_file import GuardedFile
from slurmkit.checkpoint.reading import walk
from slurmkit.checkpoint.store import CheckpointStore


def test_everything_is_synced_before_the_rename_that_makes_it_count(folder, monkeypatch):
    events: list[tuple[str, str]] = []
    real_sync, real_rename = os.fsync, os.rename

    def sync(descriptor: int) -> None:
        events.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        real_sync(descriptor)

    def rename(source: os.PathLike[str], target: os.PathLike[str], **options: int) -> None:
        events.append(("rename", os.fspath(target)))
        real_rename(source, target, **options)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", rename)
    writer = CheckpointStore(folder).begin(1)
    entries = []
    for name in ("a", "deep/er/b"):
        with writer.open(name) as file:
            file.write(b"1")
        entries.append(file.close())
    (writer.path / "c").write_bytes(b"2")
    entries.append(writer.adopt("c"))
    writer.report(0, entries)
    manifest = writer.commit(writer.await_reports(1, 5))
    monkeypatch.undo()

    temporary = str(writer.path)
    commit = events.index(("rename", str(manifest.folder)))
    place_manifest = events.index(("rename", "manifest.json"))
    before_manifest = {path for what, path in events[:place_manifest] if what == "sync"}
    assert {f"{temporary}/{name}" for name in ("a", "deep/er/b", "c")} <= before_manifest
    assert {temporary, f"{temporary}/deep", f"{temporary}/deep/er"} <= before_manifest
    assert f"{temporary}/.manifest.json.tmp" in before_manifest
    assert ("sync", temporary) in events[place_manifest:commit]
    assert ("sync", str(folder)) in events[commit:]


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EACCES, errno.ETIMEDOUT])
def test_what_cannot_be_read_right_now_is_not_put_aside(folder, save, monkeypatch, code):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"1"})
    real = os.open

    def refuse(path: os.PathLike[str], *args: int, **options: int) -> int:
        if Path(path).name == "a":
            raise OSError(code, os.strerror(code))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CheckpointError, match="cannot be read"):
        store.newest()
    monkeypatch.undo()
    assert store.dir.steps() == [1]


def test_what_the_disk_cannot_read_is_put_aside(folder, save, monkeypatch):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"1"})
    save(store, 2, {"a": b"2"})
    real = os.readv

    def broken(descriptor: int, buffers: list[memoryview]) -> int:
        if "step-0000000002" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "readv", broken)
    newest = store.newest()
    assert newest is not None
    assert newest.step == 1


def test_a_step_that_cannot_be_moved_is_passed_over(folder, save, monkeypatch, caplog):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"1"})
    save(store, 2, {"a": b"2"})
    (store.dir.step_path(2) / "a").unlink()

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "rename", refuse)
    newest = store.newest()
    assert newest is not None
    assert newest.step == 1
    assert "is passed over" in caplog.text


def test_lengths_in_a_stale_cache_harm_nothing(folder, monkeypatch):
    """An NFS client may say for seconds that a file is as short as when it last looked."""

    def stale(top: Path) -> dict[str, int]:
        return {name: 1 for name in walk(top) if name != "unseen"}

    monkeypatch.setattr(assembly, "walk", stale)
    monkeypatch.setattr(verify, "walk", stale)
    store = CheckpointStore(folder)
    writer = store.begin(1)
    entries = []
    for name in ("a", "unseen"):
        with writer.open(name) as file:
            file.write(b"12345")
        entries.append(file.close())
    writer.report(0, entries)
    manifest = writer.commit(writer.await_reports(1, 5))
    assert store.newest_metadata() == manifest
    assert store.newest() == manifest


def test_an_empty_report_of_a_failure_means_a_full_disk(folder):
    writer = CheckpointStore(folder).begin(1)
    (writer.path / "rank-00002.failed.json").touch()
    with pytest.raises(NoSpaceError, match="rank 2 failed to save"):
        writer.await_reports(3, 5)


def test_files_of_a_step_are_plain_and_readable_for_the_group_by_umask(folder, save):
    previous = os.umask(0o027)
    try:
        manifest = save(CheckpointStore(folder), 1, {"a": b"1"})
    finally:
        os.umask(previous)
    assert stat.S_IMODE((manifest.folder / "a").stat().st_mode) == 0o640


WRITES = st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=20)), max_size=12)


@given(WRITES, st.integers(0, 12))
def test_a_guarded_file_reads_as_written_also_after_the_disk_is_full(writes, full_from):
    """HDF5 may read its metadata again, and must not notice that they are in memory only."""
    model = io.BytesIO()
    descriptor = os.memfd_create("guarded")
    file = GuardedFile(descriptor)
    for number, (place, data) in enumerate(writes):
        if number == full_from:
            read_only = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
            os.dup2(read_only, descriptor)  # from now on every write fails
            os.close(read_only)
        model.seek(place)
        model.write(data)
        assert file.seek(place) == place
        assert file.write(data) == len(data)
    assert (file.error is not None) == (len(writes) > full_from)
    length = len(model.getvalue())
    assert file.seek(0, os.SEEK_END) == length
    file.seek(0)
    target = bytearray(length)
    file.readinto(target)
    assert target == model.getvalue()
    file.close()
    file.close()
