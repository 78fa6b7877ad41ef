"""Reading arrays of an HDF5 checkpoint, on any number of ranks, with every byte verified."""

import types
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from slurmkit.checkpoint.errors import CorruptCheckpointError
from slurmkit.checkpoint.hdf5 import LIBRARY_ERRORS, MASTER_NAME
from slurmkit.checkpoint.manifest import Manifest
from slurmkit.checkpoint.reading import verify_file
from slurmkit.checkpoint.tiling import intersects

if TYPE_CHECKING:
    from typing_extensions import Self


class Hdf5Reader:
    """The arrays of a committed step.

    A file is verified, once, before anything is read from it; a rank that asks for a slice reads
    only the files that hold some of it. HDF5 itself would fill in zeros for a missing file.

    Args:
        manifest: of the step, from `CheckpointStore.newest` or `newest_metadata`.

    Raises:
        CorruptCheckpointError: the master is damaged.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._verified: set[str] = set()
        self._verify(MASTER_NAME)
        self._master = h5py.File(manifest.folder / MASTER_NAME, "r", locking=False)

    def names(self) -> list[str]:
        """Return the names of all arrays, sorted."""
        found: list[str] = []
        self._master.visititems(
            lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None
        )
        return sorted(found)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a global array.

        Raises:
            KeyError: there is no such array.
        """
        return tuple(self._dataset(name).shape)

    def read(self, name: str, where: tuple[slice, ...] | None = None) -> npt.NDArray[Any]:
        """Return an array, or the part of it that this rank wants.

        Args:
            name: of the array.
            where: one slice per dimension, with steps of 1; None for all of it.

        Raises:
            KeyError: there is no such array.
            CorruptCheckpointError: a file that holds some of it is not what was written.
        """
        dataset = self._dataset(name)
        bounds = [part.indices(n) for part, n in zip(where or (), dataset.shape, strict=False)]
        if where is not None and (
            len(where) != len(dataset.shape) or any(step != 1 for _, _, step in bounds)
        ):
            raise ValueError(f"{name} has shape {dataset.shape}; give one slice per dimension")
        offset = [start for start, _, _ in bounds] if where else [0] * len(dataset.shape)
        extent = [max(0, b - a) for a, b, _ in bounds] if where else list(dataset.shape)
        for source in dataset.virtual_sources() if dataset.is_virtual else ():
            if _wanted(source, offset, extent):
                self._verify(source.file_name)
        try:
            return np.asarray(dataset[where if where else ()])
        except LIBRARY_ERRORS as error:
            raise CorruptCheckpointError(
                f"{name} of {self.manifest.folder} cannot be read: {error}",
                step=self.manifest.step,
            ) from error

    def close(self) -> None:
        """Close the files."""
        self._master.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def _dataset(self, name: str) -> Any:
        item = self._master.get(name)
        if not isinstance(item, h5py.Dataset):
            raise KeyError(f"step {self.manifest.step} has no array {name}; it has {self.names()}")
        return item

    def _verify(self, name: str) -> None:
        if name not in self._verified:
            verify_file(self.manifest, self.manifest.entry(name))
            self._verified.add(name)


def _wanted(source: Any, offset: list[int], extent: list[int]) -> bool:
    if not extent:
        return True  # a scalar
    first, last = source.vspace.get_select_bounds()  # last is inclusive
    shape = [b - a + 1 for a, b in zip(first, last, strict=True)]
    return intersects(first, shape, offset, extent)
