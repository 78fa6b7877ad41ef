"""Laws of digests, manifests and retention."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.checkpoint import manifest as manifests
from slurmkit.checkpoint.digest import digest_of
from slurmkit.checkpoint.errors import CorruptCheckpointError
from slurmkit.checkpoint.manifest import Manifest, ManifestFile
from slurmkit.checkpoint.retention import removable
from slurmkit.checkpoint.store import CheckpointStore

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FILES = st.lists(
    st.builds(
        ManifestFile,
        name=st.text("abc/._-0é", min_size=1, max_size=12).filter(manifests.is_safe_name),
        size_bytes=st.integers(0, 1 << 60),
        digest=st.binary(max_size=9).map(digest_of),
        rank=st.integers(-1, 5000),
    ),
    max_size=4,
    unique_by=lambda file: file.name,
)
MANIFESTS = st.builds(
    Manifest,
    step=st.integers(0, 10**15),
    time=st.floats(0, 1e11),
    run=st.text(max_size=9),
    incarnation=st.text(max_size=9),
    attempt=st.integers(0, 9999),
    world_size=st.integers(0, 10**6),
    files=FILES.map(manifests.sorted_files),
    save_s=st.floats(0, 1e6),
    extra=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
)


@given(MANIFESTS)
def test_a_manifest_is_read_back_as_it_was(manifest):
    assert manifests.parse(manifests.render(manifest), Path(), manifest.step) == manifest


@given(MANIFESTS, st.data())
@settings(max_examples=150)
def test_any_changed_byte_of_a_manifest_is_noticed(manifest, data):
    rendered = bytearray(manifests.render(manifest))
    place = data.draw(st.integers(0, len(rendered) - 1))
    rendered[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptCheckpointError):
        manifests.parse(bytes(rendered), Path(), manifest.step)


@given(MANIFESTS)
@settings(max_examples=50)
def test_a_manifest_that_only_looks_different_is_noticed(manifest):
    rendered = manifests.render(manifest)
    compact = json.dumps(json.loads(rendered), sort_keys=True).encode() + b"\n"
    with pytest.raises(CorruptCheckpointError, match="own digest"):
        manifests.parse(compact, Path(), manifest.step)


@given(st.lists(st.binary(max_size=200), max_size=6))
@settings(max_examples=40)
def test_a_file_has_the_digest_of_its_bytes_however_they_were_cut(tmp_path_factory, pieces):
    writer = CheckpointStore(tmp_path_factory.mktemp("store")).begin(1)
    with writer.open("a") as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
    whole = b"".join(pieces)
    entry = file.close()
    assert (entry.size_bytes, entry.digest) == (len(whole), digest_of(whole))
    assert (writer.path / "a").read_bytes() == whole
    assert writer.adopt("a") == entry


def test_buffers_of_any_shape_are_written_as_their_bytes(folder):
    numpy = pytest.importorskip("numpy")
    writer = CheckpointStore(folder).begin(1)
    array = numpy.arange(12, dtype="float32").reshape(3, 4)
    with writer.open("a") as file:
        file.write(array)
        file.write(numpy.zeros((0, 3)))
        with pytest.raises(ValueError, match="contiguous"):
            file.write(array.T)
    assert file.close().digest == digest_of(array.tobytes())


@given(st.sets(st.integers(0, 100)), st.integers(1, 6), st.none() | st.integers(0, 100))
def test_retention_keeps_the_newest_and_the_verified(steps, keep, verified):
    gone = removable(steps, keep, verified=verified)
    left = steps - set(gone)
    assert set(gone) <= steps
    assert sorted(left)[-keep:] == sorted(steps)[-keep:]
    assert verified not in gone
    assert len(left) <= keep + 1


def test_retention_never_removes_everything():
    with pytest.raises(ValueError, match="at least one"):
        removable([1, 2], 0)
