"""Steps are whole or absent, the newest that verifies is found, and old ones go."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurmkit.checkpoint import exchange, fence
from slurmkit.checkpoint.digest import digest_of
from slurmkit.checkpoint.errors import (
    CorruptCheckpointError,
    NoSpaceError,
    SaveFailedError,
    UnknownFormatError,
)
from slurmkit.checkpoint.layout import CheckpointDir, step_name, temporary_name
from slurmkit.checkpoint.reading import (
    DigestingReader,
    map_verified,
    read_verified,
    read_verified_into,
)
from slurmkit.checkpoint.store import CheckpointStore


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_committed_step_is_read_back_with_everything_that_was_said_about_it(folder, save):
    fence.write_fence(folder, "4711-0-abcd/2")
    store = CheckpointStore(folder, token="4711-0-abcd/2", run="nightly")
    save(store, 1200, {"model/w": b"x" * 5000, "empty": b""}, {"rank-1": b"y"}, epoch=3)

    manifest = CheckpointStore(folder).newest()

    assert manifest is not None
    assert (manifest.step, manifest.run, manifest.extra) == (1200, "nightly", {"epoch": 3})
    assert (manifest.incarnation, manifest.attempt, manifest.world_size) == ("4711-0-abcd", 2, 2)
    assert [(f.name, f.size_bytes, f.rank) for f in manifest.files] == [
        ("empty", 0, 0),
        ("model/w", 5000, 0),
        ("rank-1", 1, 1),
    ]
    assert read_verified(manifest, "model/w") == b"x" * 5000
    assert names(folder) == ["fence", "step-0000001200"]
    summary = store.dir.summary(1200)
    assert (summary.step, summary.size_bytes, summary.attempt) == (1200, 5001, 2)


def test_nothing_is_committed_before_the_commit(folder):
    store = CheckpointStore(folder)
    writer = store.begin(1)
    with writer.open("a") as file:
        file.write(b"1")
    writer.report(0, [file.close()])

    assert store.dir.steps() == []
    writer.commit(writer.await_reports(1, 5))
    assert store.dir.steps() == [1]


def test_the_newest_damaged_step_is_put_aside_with_the_reason(folder, save):
    store = CheckpointStore(folder)
    for step in (10, 20, 30):
        save(store, step, {"a": b"%d" % step})
    (store.dir.step_path(30) / "a").write_bytes(b"31")
    (store.dir.step_path(20) / "a").unlink()

    manifest = store.newest()

    assert manifest is not None
    assert manifest.step == 10
    aside = sorted(path.name for path in store.dir.quarantine_path.iterdir())
    assert aside == ["step-0000000020-1", "step-0000000030-1"]
    why = json.loads((store.dir.quarantine_path / aside[1] / "why.json").read_text())
    assert why["step"] == 30
    assert "wrong digest" in why["why"]
    assert (store.dir.quarantine_path / aside[1] / "a").read_bytes() == b"31"


def test_a_step_can_go_to_quarantine_twice(folder, save):
    store = CheckpointStore(folder)
    for _ in range(2):
        save(store, 5, {"a": b"1"})
        store.quarantine(5, "for a reason")
    names = sorted(path.name for path in store.dir.quarantine_path.iterdir())
    assert names == ["step-0000000005-1", "step-0000000005-2"]


def test_a_folder_without_a_manifest_is_not_committed_and_goes_to_quarantine(folder, save):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"1"})
    save(store, 2, {"a": b"2"})
    (store.dir.step_path(2) / "manifest.json").unlink()

    assert store.dir.steps() == [1]
    newest = store.newest()
    assert newest is not None
    assert newest.step == 1
    assert [p.name for p in store.dir.quarantine_path.iterdir()] == ["step-0000000002-1"]


def test_newest_by_metadata_notices_lengths_and_leaves_digests_to_who_reads(folder, save):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"12"})
    save(store, 2, {"a": b"12"})
    save(store, 3, {"a": b"12"})
    (store.dir.step_path(3) / "a").write_bytes(b"123")
    (store.dir.step_path(2) / "a").write_bytes(b"21")

    manifest = store.newest_metadata()

    assert manifest is not None
    assert manifest.step == 2
    with pytest.raises(CorruptCheckpointError, match="wrong digest"):
        read_verified(manifest, "a")


def test_newest_before_a_step(folder, save):
    store = CheckpointStore(folder)
    for step in (1, 2, 3):
        save(store, step, {"a": b"1"})
    manifest = store.newest(before=3)
    assert manifest is not None
    assert manifest.step == 2
    assert store.newest(before=1) is None
    assert store.dir.steps() == [1, 2, 3]


def test_a_step_of_a_newer_format_stops_the_job_instead_of_being_put_aside(folder, save):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"1"})
    path = store.dir.step_path(1) / "manifest.json"
    fields = json.loads(path.read_text())
    del fields["digest"]
    fields["version"] = 99
    body = json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"
    fields["digest"] = digest_of(body)
    path.write_bytes(json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n")
    with pytest.raises(UnknownFormatError, match="format 99"):
        store.newest()
    assert store.dir.steps() == [1]


def test_prune_keeps_the_newest_and_the_last_that_was_read_back(folder, save):
    store = CheckpointStore(folder, keep=2)
    save(store, 1, {"a": b"1"})
    save(store, 2, {"a": b"1"})
    assert store.newest() is not None  # step 2 was read
    for step in (3, 4, 5):
        save(store, step, {"a": b"1"})
        store.prune()
    assert store.dir.steps() == [2, 4, 5]
    store.verify(5)
    save(store, 6, {"a": b"1"})
    assert store.prune() == [2, 4]
    assert store.dir.steps() == [5, 6]


def test_prune_removes_failed_saves_of_this_attempt_only(folder, save):
    fence.write_fence(folder, "a/1")
    mine = CheckpointStore(folder, token="a/1")
    mine.begin(1)
    mine.begin(9)
    (folder / temporary_name(1, "a/12")).mkdir()
    save(mine, 5, {"a": b"1"})

    mine.prune()

    assert mine.dir.temporaries() == [temporary_name(1, "a/12"), temporary_name(9, "a/1")]


def test_a_program_alone_sweeps_what_a_killed_one_left(folder):
    CheckpointStore(folder).begin(7)
    store = CheckpointStore(folder)
    assert store.newest() is None
    assert store.dir.temporaries() == []


def test_saving_a_step_again_replaces_it(folder, save):
    store = CheckpointStore(folder)
    save(store, 1, {"old": b"1"})
    save(store, 1, {"new": b"22"})
    manifest = store.newest()
    assert manifest is not None
    assert [file.name for file in manifest.files] == ["new"]
    assert names(folder) == [step_name(1)]


def test_saving_a_step_again_where_the_file_system_cannot_exchange_folders(
    folder, save, monkeypatch
):
    monkeypatch.setattr(exchange, "_exchange", lambda one, other: False)
    store = CheckpointStore(folder)
    save(store, 1, {"old": b"1"})
    save(store, 1, {"new": b"22"})
    manifest = store.newest()
    assert manifest is not None
    assert [file.name for file in manifest.files] == ["new"]
    assert names(folder) == [step_name(1)]


def test_a_rename_that_was_done_though_the_answer_was_lost_counts(folder, save, monkeypatch):
    real = Path.rename

    def lossy(self: Path, target: Path) -> Path:
        result = real(self, target)
        if target.name == step_name(1):
            raise FileNotFoundError(2, "asked again")
        return result

    monkeypatch.setattr(Path, "rename", lossy)
    manifest = save(CheckpointStore(folder), 1, {"a": b"1"})
    assert manifest.step == 1
    assert CheckpointStore(folder).newest() == manifest


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/etc/x", "a/../../x", "manifest.json", "rank-00001.done.json", "a\nb", "a//b"],
)
def test_names_that_lead_elsewhere_are_refused(folder, name):
    with pytest.raises(ValueError, match="cannot be the name"):
        CheckpointStore(folder).begin(1).open(name)


def test_two_writers_of_one_name_are_noticed(folder):
    store = CheckpointStore(folder)
    store.begin(1).open("a").discard()
    with pytest.raises(SaveFailedError, match="exists already"):
        store.begin(1).open("a")


def test_more_than_fits_is_refused_before_anything_is_written(folder):
    store = CheckpointStore(folder)
    with pytest.raises(NoSpaceError, match=r"needs \d+ bytes"):
        store.begin(1, size_bytes=1 << 60)
    assert names(folder) == []


def test_a_commit_compares_the_reports_with_the_files(folder, save):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"1"})

    def attempt(spoil) -> None:
        writer = store.begin(2)
        with writer.open("a") as file:
            file.write(b"12345")
        writer.report(0, [file.close()])
        spoil(writer.path)
        with pytest.raises(SaveFailedError) as caught:
            writer.commit(writer.await_reports(1, 5))
        assert expected in caught.value.message
        assert names(folder) == [step_name(1)]

    expected = "has 2 bytes"
    attempt(lambda path: os.truncate(path / "a", 2))
    expected = "is missing"
    attempt(lambda path: (path / "a").unlink())
    expected = "reported by no rank"
    attempt(lambda path: (path / "b").write_bytes(b""))


def test_two_ranks_that_claim_one_file_fail_the_save(folder):
    store = CheckpointStore(folder)
    writer = store.begin(1)
    with writer.open("a") as file:
        file.write(b"1")
    for rank in (0, 1):
        writer.report(rank, [file.close()])
    with pytest.raises(SaveFailedError, match="ranks 0 and 1 both"):
        writer.commit(writer.await_reports(2, 5))


def test_extra_that_is_no_json_fails_the_save_and_leaves_nothing(folder):
    store = CheckpointStore(folder)
    writer = store.begin(1)
    writer.report(0, [])
    with pytest.raises(TypeError):
        writer.commit(writer.await_reports(1, 5), extra={"tensor": object()})
    assert names(folder) == []


def test_reading_in_pieces_checks_at_the_end(folder, save):
    store = CheckpointStore(folder)
    manifest = save(store, 1, {"a": bytes(range(256)) * 10, "empty": b""})
    with DigestingReader(manifest, "a") as reader:
        assert reader.read(100) + reader.read() == bytes(range(256)) * 10
        assert reader.read() == b""
    target = bytearray(2560)
    read_verified_into(manifest, "a", target)
    assert target == bytes(range(256)) * 10
    assert map_verified(manifest, "a")[256:300] == bytes(range(44))
    assert map_verified(manifest, "empty") == b""
    with pytest.raises(ValueError, match="has 2560 bytes"):
        read_verified_into(manifest, "a", bytearray(5))
    with pytest.raises(KeyError, match="no file b"):
        read_verified(manifest, "b")
    path = manifest.folder / "a"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    for read in (read_verified, map_verified):
        with pytest.raises(CorruptCheckpointError, match="wrong digest"):
            read(manifest, "a")
    with DigestingReader(manifest, "a") as reader:
        reader.read(2559)
        with pytest.raises(CorruptCheckpointError):
            reader.read(1)


def test_a_manifest_names_the_step_it_is_of(folder, save):
    store = CheckpointStore(folder)
    save(store, 1, {"a": b"1"})
    store.dir.step_path(1).rename(store.dir.step_path(2))
    with pytest.raises(CorruptCheckpointError, match="is that of step 1"):
        store.verify(2)


def test_the_summary_of_a_damaged_manifest_is_an_error_not_a_guess(folder):
    root = CheckpointDir(folder)
    root.step_path(1).mkdir()
    (root.step_path(1) / "manifest.json").write_text("{}")
    with pytest.raises(CorruptCheckpointError, match="cannot be read"):
        root.summary(1)


def test_names_and_fence_cost_the_supervisor_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules);"
        "import slurmkit.checkpoint.layout, slurmkit.checkpoint.fence;"
        "print([m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names"
        " and not m.startswith('slurmkit') and m not in before])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
