"""Checkpoints of NumPy and MPI codes in HDF5: a file per rank, and a master with whole arrays.

Each rank writes its blocks into a file of its own, so no parallel HDF5 and no lock is needed. The
committing rank adds ``master.h5``, whose virtual datasets (HDF5's VDS) put the blocks together:
any tool reads the global arrays from it, and a run on another number of ranks asks it for its own
slices. Manifest, digests and commit are those of every checkpoint.

A file is digested by one read right after it was written: HDF5 goes back to its header last, so
its bytes do not come in order. The read is served by the page cache.

Needs h5py. No MPI is needed: rank and world size are arguments.
"""

import contextlib
import dataclasses
import functools
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from slurmkit.checkpoint.errors import SaveFailedError, save_error
from slurmkit.checkpoint.global_arrays import GlobalArray, merge_arrays
from slurmkit.checkpoint.hdf5_file import GuardedFile
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.reports import RankReport
from slurmkit.checkpoint.store import CheckpointStore
from slurmkit.checkpoint.writer import StepWriter

if TYPE_CHECKING:
    from typing_extensions import Self

MASTER_NAME = "master.h5"
_KINDS = "biufcS"  # a name says all about such a type; not so with structured ones
# What h5py raises when the library fails.
LIBRARY_ERRORS = (OSError, RuntimeError, ValueError, KeyError)


def rank_file(rank: int) -> str:
    """Return the name of a rank's file in the folder of a step."""
    return f"rank-{rank:05d}.h5"


class Hdf5Writer:
    """One step of a program with `world_size` ranks, as one of them writes it.

    Every rank makes one, calls `write` for each array and then `finish`. After an exception inside
    a ``with`` block the other ranks are told.

    Args:
        store: the checkpoint folder.
        step: the step, the same on every rank.
        rank: this rank.
        world_size: how many ranks there are.
        size_bytes: what is about to be written, for the space check; None: no check.

    Raises:
        NoSpaceError, SaveFailedError, StaleTokenError: as `CheckpointStore.begin`.
    """

    def __init__(
        self,
        store: CheckpointStore,
        step: int,
        *,
        rank: int,
        world_size: int,
        size_bytes: int | None = None,
    ) -> None:
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._writer = store.begin(step, size_bytes=size_bytes)
        self._blocks: dict[str, dict[str, Any]] = {}
        self._name = rank_file(rank)
        self._finished = False
        self._file = _GuardedHdf5(self._writer, self._name)

    def write(
        self,
        name: str,
        block: npt.ArrayLike,
        *,
        offset: Sequence[int] | None = None,
        shape: Sequence[int] | None = None,
    ) -> None:
        """Write this rank's block of a global array.

        Args:
            name: of the array; ``/`` makes groups.
            block: what this rank holds; may be empty.
            offset: where the block begins in the global array, per dimension.
            shape: of the global array. With neither offset nor shape the array is the same on all
                ranks, and the master shows that of rank 0; only rank 0 stores it.

        Raises:
            NoSpaceError, SaveFailedError: the file cannot be written.
            ValueError: the name was written before, the array is not of numbers, booleans or byte
                strings, or only one of offset and shape is given.
        """
        array = np.asarray(block)
        if name in self._blocks:
            raise ValueError(f"{name} was written already")
        if array.dtype.kind not in _KINDS:
            raise ValueError(f"{name} is of type {array.dtype}; write each field as its own array")
        if (offset is None) != (shape is None):
            raise ValueError(f"{name}: give both offset and shape, or neither")
        shared = offset is None or shape is None
        if not shared or self._rank == 0:
            self._file.do(lambda file: file.create_dataset(name, data=array))
        self._blocks[name] = {
            "dtype": array.dtype.str,
            "block": list(array.shape),
            "offset": None if offset is None else [int(n) for n in offset],
            "shape": list(array.shape) if shape is None else [int(n) for n in shape],
        }

    def finish(
        self,
        *,
        timeout_s: float = 600.0,
        extra: dict[str, Any] | None = None,
        alive: Callable[[], bool] | None = None,
    ) -> Manifest | None:
        """Report this rank's file; rank 0 waits for all, commits and prunes.

        Args:
            timeout_s: how long rank 0 waits for the others, seconds.
            extra: for the manifest, from rank 0; JSON.
            alive: asked while waiting; False gives the save up.

        Returns:
            The manifest on rank 0; None elsewhere, where the save may still fail.

        Raises:
            NoSpaceError, SaveFailedError, StaleTokenError: the save failed; on rank 0 also because
                another rank's did, or because the blocks do not make up the arrays.
        """
        try:
            self._file.close()
            entry = self._writer.adopt(self._name)
            self._writer.report(self._rank, [entry], {"hdf5": self._blocks})
        except BaseException as error:
            self.fail(error)
            raise
        self._finished = True
        if self._rank != 0:
            return None
        reports = self._writer.await_reports(self._world_size, timeout_s, alive)
        try:
            reports[0] = self._with_master(reports)
        except BaseException:
            self._writer.abort()
            raise
        manifest = self._writer.commit(reports, extra=extra)
        self._store.prune()
        return manifest

    def fail(self, error: BaseException) -> None:
        """Tell the rank that commits that this one cannot save; rank 0 ends the save itself."""
        self._finished = True
        with contextlib.suppress(SaveFailedError):  # the file is given up
            self._file.close()
        if self._rank == 0:
            self._writer.abort()
        else:
            self._writer.fail(self._rank, error)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if not self._finished:
            self.fail(error or SaveFailedError("the writer was left without finish()"))

    def _with_master(self, reports: Sequence[RankReport]) -> RankReport:
        arrays = merge_arrays([(report.rank, report.meta["hdf5"]) for report in reports])
        master = _GuardedHdf5(self._writer, MASTER_NAME)
        try:
            for name, array in arrays.items():
                master.do(functools.partial(_add_virtual, name, array))
        finally:
            master.close()
        entry = self._writer.adopt(MASTER_NAME)
        return dataclasses.replace(reports[0], entries=(*reports[0].entries, entry))


def _layout(name: str, array: GlobalArray) -> Any:
    dtype = np.dtype(array.dtype)
    layout = h5py.VirtualLayout(shape=array.shape, dtype=dtype)
    for block in array.blocks:
        if block.num_elements:
            # A relative name is looked up beside the master, so the folder can be moved
            source = h5py.VirtualSource(rank_file(block.rank), name, shape=block.shape, dtype=dtype)
            layout[block.slices or ...] = source
    return layout


def _add_virtual(name: str, array: GlobalArray, file: Any) -> None:
    file.create_virtual_dataset(name, _layout(name, array))


class _GuardedHdf5:
    """An HDF5 file of a step on a `GuardedFile`, whose errors are those of a save."""

    def __init__(self, writer: StepWriter, name: str) -> None:
        self._path = writer.path / name
        self._raw = GuardedFile(writer.create(name))
        self._file = h5py.File(str(self._path), "w", driver="fileobj", fileobj=self._raw)

    def do(self, work: Callable[[Any], object]) -> None:
        """Let `work` change the file.

        Raises:
            NoSpaceError, SaveFailedError: HDF5 or the file below it failed.
            TypeError: the data have no HDF5 type.
        """
        try:
            work(self._file)
        except LIBRARY_ERRORS as error:
            self._raise_if_failed()
            raise SaveFailedError(f"{self._path} cannot be written: {error}") from error
        self._raise_if_failed()

    def close(self) -> None:
        """Close both; again does nothing.

        Raises:
            NoSpaceError, SaveFailedError: HDF5 or the file below it failed, now or before.
        """
        try:
            self._file.close()
        except LIBRARY_ERRORS as error:
            self._raw.close()
            self._raise_if_failed()
            raise SaveFailedError(f"{self._path} cannot be closed: {error}") from error
        self._raw.close()
        self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        if self._raw.error:
            raise save_error(f"{self._path} cannot be written", self._raw.error)
