"""Where stored parts of a tensor and what a rank has of it meet; plain tensors meet all parts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slurmkit.checkpoint.tensors.index import Stored


@dataclass(frozen=True)
class Overlap:
    """A rectangle that is in a stored part and in this rank's tensor.

    Attributes:
        key: the tensor.
        part: number of the part among those that are stored of it.
        dest_offsets: where the rectangle begins in what the rank has.
        storage_offsets: where it begins in the part.
        lengths: its extent.
    """

    key: str
    part: int
    dest_offsets: tuple[int, ...]
    storage_offsets: tuple[int, ...]
    lengths: tuple[int, ...]


def of_whole_tensors(stored: Mapping[str, Stored], keys: Iterable[str]) -> list[Overlap]:
    """Return the overlaps of tensors that the rank has as a whole: every part, all of it."""
    return [
        Overlap(key, number, part.offsets, (0,) * len(part.sizes), part.sizes)
        for key in keys
        for number, part in enumerate(stored[key].parts)
    ]
