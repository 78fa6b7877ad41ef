"""What digests and the commit add to writing and reading a checkpoint."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmkit.checkpoint.reading import READ_CHUNK_BYTES, read_verified_into
from slurmkit.checkpoint.store import CheckpointStore

Figure = Callable[[str, str, str], None]
SIZE_BYTES = 256 << 20
NUM_FILES = 4


@pytest.fixture(scope="module")
def data() -> memoryview:
    return memoryview(os.urandom(1 << 20) * (SIZE_BYTES >> 20))


def _told(pair: Any) -> str:
    speed = SIZE_BYTES / pair.ours_s / 1e9
    return f"{pair.ratio:.2f} ({speed:.2f} GB/s; {pair.ours_s:.3f} s and {pair.rival_s:.3f} s)"


def _raw_write(folder: Path, data: memoryview) -> None:
    folder.mkdir()
    part = len(data) // NUM_FILES
    for number in range(NUM_FILES):
        rest = data[number * part : (number + 1) * part]
        descriptor = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
        os.close(descriptor)
    shutil.rmtree(folder)


def _save(store: CheckpointStore, data: memoryview) -> None:
    writer = store.begin(1, size_bytes=len(data))
    part = len(data) // NUM_FILES
    entries = []
    for number in range(NUM_FILES):
        with writer.open(str(number)) as file:
            file.write(data[number * part : (number + 1) * part])
        entries.append(file.close())
    writer.report(0, entries)
    manifest = writer.commit(writer.await_reports(1, 60))
    shutil.rmtree(manifest.folder)


def test_synchronous_save(
    tmp_path: Path, data: memoryview, in_turn: Callable[..., Any], figure: Figure
) -> None:
    """The whole protocol against write and fsync of the same bytes to as many files."""
    store = CheckpointStore(tmp_path / "store")
    pair = in_turn(lambda: _save(store, data), lambda: _raw_write(tmp_path / "raw", data), 15)
    figure("synchronous save, digests and commit / raw write + fsync", _told(pair), "<= 1.25")


def test_verified_load(
    tmp_path: Path, data: memoryview, in_turn: Callable[..., Any], figure: Figure
) -> None:
    """Into memory that is there, from a warm page cache: nothing hides what the digest costs."""
    store = CheckpointStore(tmp_path)
    writer = store.begin(1)
    with writer.open("all") as file:
        file.write(data)
    writer.report(0, [file.close()])
    manifest = writer.commit(writer.await_reports(1, 60))
    target = memoryview(bytearray(len(data)))

    def raw() -> None:
        with (manifest.folder / "all").open("rb", buffering=0) as source:
            for start in range(0, len(target), READ_CHUNK_BYTES):
                source.readinto(target[start : start + READ_CHUNK_BYTES])

    pair = in_turn(lambda: read_verified_into(manifest, "all", target), raw, 15)
    figure("verified load / raw read", _told(pair), "<= 1.3")
    assert target == data


def test_hdf5_save(
    tmp_path: Path, data: memoryview, in_turn: Callable[..., Any], figure: Figure
) -> None:
    """With the master, digests and the commit, against h5py and fsync."""
    h5py = pytest.importorskip("h5py")
    np = pytest.importorskip("numpy")
    from slurmkit.checkpoint.hdf5 import Hdf5Writer  # noqa: PLC0415 (h5py is optional)

    store = CheckpointStore(tmp_path / "store")
    field = np.frombuffer(data, dtype="f8").reshape(-1, 1024)

    def ours() -> None:
        with Hdf5Writer(store, 1, rank=0, world_size=1, size_bytes=len(data)) as writer:
            writer.write("u", field, offset=(0, 0), shape=field.shape)
            manifest = writer.finish()
        assert manifest is not None
        shutil.rmtree(manifest.folder)

    def plain() -> None:
        path = tmp_path / "plain.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("u", data=field)
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        path.unlink()

    pair = in_turn(ours, plain, 15)
    figure("HDF5 save, digests and commit / h5py + fsync", _told(pair), "-")
