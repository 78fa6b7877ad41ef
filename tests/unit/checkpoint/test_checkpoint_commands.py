"""Checkpoint folders from outside: list, verify, prune, and commits of programs not in Python."""

import os

import pytest

from slurmkit.checkpoint import commands, fence
from slurmkit.checkpoint.errors import CorruptCheckpointError, SaveFailedError
from slurmkit.checkpoint.fence import StaleTokenError
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.errors import UsageError


@pytest.fixture
def three(folder, save):
    store = CheckpointStore(folder)
    for step in (10, 20, 30):
        save(store, step, {"a": b"x" * step})
    return store


def test_steps_are_listed_without_reading_them(folder, three):
    (three.dir.step_path(20) / "manifest.json").write_text("gone")
    listed = commands.list_steps(folder)
    assert [(row.step, row.size_bytes, row.world_size) for row in listed] == [
        (10, 10, 1),
        (20, 0, 0),
        (30, 30, 1),
    ]


def test_verification_reports_every_step_and_changes_nothing(folder, three):
    (three.dir.step_path(20) / "a").write_bytes(b"y" * 20)
    (three.dir.step_path(10) / "manifest.json").write_text("gone")
    verdicts = commands.verify_all(folder)
    assert [(v.step, v.ok, v.size_bytes) for v in verdicts] == [
        (10, False, 0),
        (20, False, 20),
        (30, True, 30),
    ]
    assert "wrong digest" in verdicts[1].problem
    assert three.dir.folders() == [10, 20, 30]
    assert [v.step for v in commands.verify_all(folder, [30])] == [30]
    with pytest.raises(UsageError, match="has no step 40"):
        commands.verify_all(folder, [40])


def test_pruning_says_what_goes_and_then_removes_it(folder, three):
    planned = commands.prune(folder, 1, dry_run=True)
    assert (planned.removed, planned.kept, planned.freed_bytes) == ([10, 20], [30], 30)
    assert three.dir.steps() == [10, 20, 30]
    assert commands.prune(folder, 1) == planned
    assert three.dir.steps() == [30]
    with pytest.raises(UsageError, match="at least one"):
        commands.prune(folder, 0)


def test_nothing_is_pruned_while_the_newest_step_is_damaged(folder, three):
    (three.dir.step_path(30) / "a").unlink()
    with pytest.raises(CorruptCheckpointError, match="nothing was removed"):
        commands.prune(folder, 1)
    assert three.dir.steps() == [10, 20, 30]


def test_what_is_in_quarantine_is_listed_with_its_reason(folder, three):
    assert commands.list_quarantined(folder) == []
    three.quarantine(20, "a test")
    three.quarantine(30, "another")
    (three.dir.quarantine_path / "step-0000000030-1" / "why.json").unlink()
    rows = commands.list_quarantined(folder)
    assert [(row.step, row.why) for row in rows] == [
        (20, "a test"),
        (-1, "the reason was not written down"),
    ]


def test_a_folder_that_is_not_there_is_said(folder):
    for call in (commands.list_steps, commands.verify_all, commands.list_quarantined):
        with pytest.raises(UsageError, match="no checkpoint folder"):
            call(folder / "nowhere")


def test_a_program_writes_into_the_temporary_folder_and_commits(folder):
    fence.write_fence(folder, "a/1")
    place = commands.begin_folder(folder, 5, token="a/1")
    assert commands.begin_folder(folder, 5, token="a/1") == place
    (place / "fields").mkdir()
    (place / "fields" / "u.bin").write_bytes(b"u" * 100)
    (place / "v.bin").write_bytes(b"v")
    manifest = commands.commit_folder(folder, 5, token="a/1", extra={"time": 0.5})
    assert CheckpointStore(folder).newest() == manifest
    assert [file.name for file in manifest.files] == ["fields/u.bin", "v.bin"]
    assert manifest.extra == {"time": 0.5}


def test_a_folder_with_files_is_taken_over(folder):
    for step in (1, 2, 3):
        source = folder / "out"
        (source / "sub").mkdir(parents=True)
        (source / "sub" / "u.bin").write_bytes(b"%d" % step)
        commands.commit_folder(folder / "ckpt", step, source=source, keep=2)
        assert not source.exists()
    store = CheckpointStore(folder / "ckpt")
    assert store.dir.steps() == [2, 3]
    newest = store.newest()
    assert newest is not None
    assert (newest.folder / "sub" / "u.bin").read_bytes() == b"3"


def test_a_folder_on_another_file_system_is_copied(folder, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    source = folder / "out"
    source.mkdir()
    (source / "u.bin").write_bytes(b"u" * 10_000_000)
    manifest = commands.commit_folder(folder / "ckpt", 1, source=source)
    assert CheckpointStore(folder / "ckpt").newest() == manifest
    assert not source.exists()


def test_a_refused_commit_leaves_the_source_alone(folder):
    source = folder / "out"
    source.mkdir()
    with pytest.raises(UsageError, match="no files to commit"):
        commands.commit_folder(folder / "ckpt", 1, source=source)
    (source / "u.bin").write_bytes(b"u")
    with pytest.raises(StaleTokenError):
        commands.commit_folder(folder / "ckpt", 1, source=source, token="a/1")
    (source / "link").symlink_to("u.bin")
    with pytest.raises(SaveFailedError):
        commands.commit_folder(folder / "ckpt", 1, source=source)
    assert (source / "u.bin").read_bytes() == b"u"
    assert list((folder / "ckpt").iterdir()) == []
    with pytest.raises(UsageError, match="is no folder"):
        commands.commit_folder(folder / "ckpt", 1, source=folder / "nothing")
