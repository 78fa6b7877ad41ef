"""HDF5 checkpoints: blocks of ranks are one array again, on any number of ranks, or an error."""

import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.checkpoint.errors import CorruptCheckpointError, SaveFailedError
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.tiling import Block, tiling_problem

h5py = pytest.importorskip("h5py")
np = pytest.importorskip("numpy")

from slurmkit.checkpoint.hdf5 import Hdf5Writer  # noqa: E402
from slurmkit.checkpoint.hdf5_load import Hdf5Reader  # noqa: E402


def cut(length, parts):
    """Where each of so many parts of a length begins and ends."""
    return [(length * i // parts, length * (i + 1) // parts) for i in range(parts)]


def save(store, step, field, num_ranks):
    """Save as so many ranks, each with some of the rows."""
    writers = [Hdf5Writer(store, step, rank=r, world_size=num_ranks) for r in range(num_ranks)]
    for writer, (start, stop) in zip(writers, cut(len(field), num_ranks), strict=True):
        offset = (start,) + (0,) * (field.ndim - 1)
        writer.write("flow/u", field[start:stop], offset=offset, shape=field.shape)
        writer.write("time", np.float64(step / 2))
    for writer in reversed(writers[1:]):
        assert writer.finish() is None
    return writers[0].finish(extra={"dt": 0.5})


@given(
    st.integers(1, 40),
    st.integers(1, 7),
    st.integers(1, 7),
    st.sampled_from(["<f8", ">f4", "<i2", "<c16", "?"]),
)
@settings(max_examples=25, deadline=None)
def test_any_number_of_ranks_saves_and_any_other_number_loads(
    tmp_path_factory, rows, num_writers, num_readers, dtype
):
    store = CheckpointStore(tmp_path_factory.mktemp("store"))
    field = np.random.default_rng(rows).integers(0, 100, (rows, 3)).astype(dtype)
    save(store, 1, field, num_writers)

    manifest = store.newest()
    assert manifest.world_size == num_writers
    parts = []
    for start, stop in cut(rows, num_readers):
        with Hdf5Reader(manifest) as reader:
            parts.append(reader.read("flow/u", (slice(start, stop), slice(None))))
            assert reader.read("time") == 0.5
    assert all(part.dtype == field.dtype for part in parts)
    assert b"".join(part.tobytes() for part in parts) == field.tobytes()


def test_any_tool_reads_the_global_arrays_from_the_master(folder):
    field = np.arange(60.0).reshape(10, 6)
    store = CheckpointStore(folder)
    manifest = save(store, 1, field, 3)
    moved = folder / "moved"
    shutil.copytree(manifest.folder, moved)
    shutil.rmtree(manifest.folder)  # the master finds the files beside it
    with h5py.File(moved / "master.h5") as master:
        assert (master["flow/u"][...] == field).all()
        assert master["time"][()] == 0.5
    assert [file.name for file in manifest.files] == [
        "master.h5",
        "rank-00000.h5",
        "rank-00001.h5",
        "rank-00002.h5",
    ]
    assert manifest.extra == {"dt": 0.5}


def test_blocks_in_two_dimensions_and_empty_ones(folder):
    field = np.arange(48).reshape(6, 8)
    store = CheckpointStore(folder)
    boxes = [(0, 0, 4, 5), (0, 5, 4, 3), (4, 0, 2, 8), (0, 0, 0, 0)]
    writers = [Hdf5Writer(store, 1, rank=r, world_size=4) for r in range(4)]
    for writer, (y, x, h, w) in zip(writers, boxes, strict=True):
        writer.write("u", field[y : y + h, x : x + w], offset=(y, x), shape=field.shape)
        writer.write("none", np.zeros((0, 2)), offset=(0, 0), shape=(0, 2))
    for writer in writers[::-1]:
        writer.finish()
    with Hdf5Reader(store.newest()) as reader:
        assert (reader.read("u") == field).all()
        assert reader.read("none").shape == (0, 2)
        assert reader.names() == ["none", "u"]
        assert reader.shape("u") == (6, 8)
        with pytest.raises(KeyError, match="no array v"):
            reader.read("v")
        with pytest.raises(ValueError, match="one slice per dimension"):
            reader.read("u", (slice(0, 2),))
        with pytest.raises(ValueError, match="one slice per dimension"):
            reader.read("u", (slice(0, 6, 2), slice(None)))


def test_a_rank_reads_and_verifies_only_the_files_that_hold_its_slice(folder):
    field = np.arange(40.0).reshape(20, 2)
    store = CheckpointStore(folder)
    manifest = save(store, 1, field, 4)
    victim = manifest.folder / "rank-00003.h5"
    data = bytearray(victim.read_bytes())
    data[-5] ^= 4
    victim.write_bytes(data)
    with Hdf5Reader(manifest) as reader:
        assert (reader.read("flow/u", (slice(0, 15), slice(None))) == field[:15]).all()
        with pytest.raises(CorruptCheckpointError, match=r"rank-00003.h5 .*wrong digest"):
            reader.read("flow/u", (slice(14, 16), slice(None)))
        victim.unlink()  # HDF5 alone would read zeros now
        with pytest.raises(CorruptCheckpointError, match=r"rank-00003.h5 is missing"):
            reader.read("flow/u")
    assert store.newest() is None


def test_random_corruptions_of_hdf5_files_are_noticed(folder):
    store = CheckpointStore(folder / "ckpt")
    manifest = save(store, 1, np.arange(40.0).reshape(20, 2), 2)
    shutil.copytree(manifest.folder, folder / "good")
    for seed in range(100):
        rng = random.Random(seed)
        path = manifest.folder / rng.choice(manifest.files).name
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises(CorruptCheckpointError, match="wrong digest"):
            store.verify(1)
        shutil.copy(folder / "good" / path.name, path)
    store.verify(1)


def test_threads_as_ranks_commit_step_after_step(folder):
    field = np.random.default_rng(0).random((50, 4))
    outcomes = []

    def rank_main(rank):
        store = CheckpointStore(folder, keep=2)
        for step in (1, 2, 3):
            start, stop = cut(50, 4)[rank]
            with Hdf5Writer(store, step, rank=rank, world_size=4, size_bytes=10_000) as writer:
                writer.write("u", field[start:stop], offset=(start, 0), shape=field.shape)
                outcomes.append(writer.finish(timeout_s=30))

    threads = [threading.Thread(target=rank_main, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(m.step for m in outcomes if m) == [1, 2, 3]
    assert CheckpointStore(folder).dir.steps() == [2, 3]


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"offset": (1, 0), "rows": 3}, "ranks 0 and 1 overlap"),
        ({"offset": (2, 0), "rows": 1}, "2 elements are in no rank's block"),
        ({"offset": (2, 0), "rows": 3}, "reaches beyond"),
    ],
)
def test_blocks_that_are_no_partition_fail_the_save(folder, second, problem):
    store = CheckpointStore(folder)
    writers = [Hdf5Writer(store, 1, rank=r, world_size=2) for r in range(2)]
    writers[0].write("u", np.zeros((2, 2)), offset=(0, 0), shape=(4, 2))
    writers[1].write("u", np.zeros((second["rows"], 2)), offset=second["offset"], shape=(4, 2))
    writers[1].finish()
    with pytest.raises(SaveFailedError, match=problem):
        writers[0].finish()
    assert list(folder.iterdir()) == []


def test_ranks_that_contradict_each_other_fail_the_save(folder):
    store = CheckpointStore(folder)
    writers = [Hdf5Writer(store, 1, rank=r, world_size=2) for r in range(2)]
    for rank, writer in enumerate(writers):
        writer.write("u", np.zeros(2, dtype=f"f{4 * rank + 4}"), offset=(2 * rank,), shape=(4,))
    writers[1].finish()
    with pytest.raises(SaveFailedError, match="rank 1 says that u is <f8"):
        writers[0].finish()


def test_a_rank_that_raises_ends_the_save_for_all(folder):
    store = CheckpointStore(folder)

    def fail():
        with Hdf5Writer(store, 1, rank=1, world_size=2):
            raise RuntimeError("negative density")

    first = Hdf5Writer(store, 1, rank=0, world_size=2)
    with pytest.raises(RuntimeError, match="negative density"):
        fail()
    with pytest.raises(SaveFailedError, match=r"rank 1 on .*negative density"):
        first.finish(timeout_s=30)
    assert list(folder.iterdir()) == []


def test_misuse_is_said(folder):
    writer = Hdf5Writer(CheckpointStore(folder), 1, rank=0, world_size=1)
    writer.write("u", np.zeros(2))
    with pytest.raises(ValueError, match="written already"):
        writer.write("u", np.zeros(2))
    with pytest.raises(ValueError, match="both offset and shape"):
        writer.write("v", np.zeros(2), offset=(0,))
    with pytest.raises(ValueError, match="each field as its own array"):
        writer.write("w", np.zeros(2, dtype=[("x", "f8"), ("y", "i4")]))


FULL_DISK = """
    import sys
    from pathlib import Path
    import numpy as np
    from slurmkit.checkpoint.errors import NoSpaceError
    from slurmkit.checkpoint.hdf5 import Hdf5Writer
    from slurmkit.checkpoint.store import CheckpointStore

    store = CheckpointStore(Path(sys.argv[1]) / "ckpt")

    def save(step, length, count):
        with Hdf5Writer(store, step, rank=0, world_size=1) as writer:
            for number in range(count):
                writer.write(f"a{number}", np.random.random(length))
            writer.finish()

    save(1, 1000, 1)
    for step, length, count in ((2, 400_000, 1), (3, 1000, 150)):
        try:
            save(step, length, count)
            sys.exit(f"step {step} cannot have fitted")
        except NoSpaceError as error:
            print(error)
        assert store.dir.temporaries() == []
    assert store.newest().step == 1
    save(4, 1000, 1)
    print("survived")
"""


def test_a_full_disk_under_hdf5_is_noticed(tmp_path):
    """Also when HDF5 reports it only when it closes the file."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("mounting a small tmpfs needs root and unshare")
    program = tmp_path / "full_disk.py"
    program.write_text(textwrap.dedent(FULL_DISK))
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -W error "$3" "$1"'
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


BOX = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 4), st.integers(0, 4))


@given(st.lists(BOX, max_size=6))
@settings(max_examples=150)
def test_a_partition_is_what_covers_each_element_once(boxes):
    shape = (6, 6)
    counts = np.zeros((12, 12), dtype=int)
    blocks = [Block(r, (y, x), (h, w)) for r, (y, x, h, w) in enumerate(boxes)]
    for block in blocks:
        counts[block.slices] += 1
    inside = all(b.offset[i] + b.shape[i] <= 6 for b in blocks for i in (0, 1))
    whole = inside and bool((counts[:6, :6] == 1).all())
    assert (tiling_problem(shape, blocks) == "") == whole


@given(st.integers(1, 9), st.integers(1, 9), st.randoms())
def test_grids_of_blocks_are_partitions(rows, columns, rng):
    shape = (9, 13)
    blocks = [
        Block(0, (a, c), (b - a, d - c)) for a, b in cut(9, rows) for c, d in cut(13, columns)
    ]
    rng.shuffle(blocks)
    assert tiling_problem(shape, blocks) == ""
    biggest = max(blocks, key=lambda block: block.num_elements)
    assert "no rank's block" in tiling_problem(shape, [b for b in blocks if b is not biggest])
    assert "overlap" in tiling_problem(shape, [*blocks, biggest])


def test_scalars_have_one_owner():
    assert tiling_problem((), [Block(0, (), ())]) == ""
    assert "overlap" in tiling_problem((), [Block(0, (), ()), Block(1, (), ())])
    assert "dimensions" in tiling_problem((3,), [Block(0, (), ())])
