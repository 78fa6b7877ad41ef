"""The index of a step: for every tensor, which rank's file holds which part of it, and where.

Standard library only. Rank 0 writes it beside the ranks' files, so that a reader opens one small
file instead of the header of each rank.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from slurmkit.checkpoint.errors import UnknownFormatError
from slurmkit.checkpoint.tensors.image import Image
from slurmkit.record import Record

INDEX_NAME = "tensors.json"
_VERSION = 1

Path = tuple[
    Any, ...
]  # str: a dict's key; int: a dict's key; ("l"|"t", i): an item of a list, tuple


def rank_file(rank: int) -> str:
    """Return the name of a rank's data."""
    return f"rank-{rank:05d}.safetensors"


def blocks_file(rank: int) -> str:
    """Return the name of the digests of a rank's data, block by block."""
    return f"rank-{rank:05d}.blocks"


class Part(Record):
    """A rectangle of a tensor in a rank's file, from byte `place` on."""

    rank: int
    place: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


class Stored(Record):
    """A tensor as it was saved."""

    dtype: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]


class Index(Record):
    """All that was saved.

    Attributes:
        tensors: by key.
        objects: which rank's file has the value of each key that is not a tensor.
        objects_start: per rank, where the objects begin in its file.
        paths: how each key is reached in the nested state.
    """

    tensors: Mapping[str, Stored]
    objects: Mapping[str, int]
    objects_start: tuple[int, ...]
    paths: Mapping[str, Path]

    def encode(self) -> bytes:
        """Return the JSON text."""
        tensors = {
            key: [
                stored.dtype,
                stored.shape,
                [[part.rank, part.place, part.offsets, part.sizes] for part in stored.parts],
            ]
            for key, stored in self.tensors.items()
        }
        fields = {
            "version": _VERSION,
            "objects_start": self.objects_start,
            "objects": dict(self.objects),
            "tensors": tensors,
            "paths": dict(self.paths),
        }
        return json.dumps(fields, separators=(",", ":")).encode()


def decode(text: bytes) -> Index:
    """Read what `Index.encode` wrote.

    Raises:
        UnknownFormatError: another version wrote it, or it is no index.
    """
    try:
        fields = json.loads(text)
        if fields["version"] != _VERSION:
            raise UnknownFormatError(
                f"{INDEX_NAME} has version {fields['version']}, this release reads {_VERSION}",
                hint="load it with the release of slurmkit that wrote it",
            )
        tensors = {
            key: Stored(dtype, tuple(shape), tuple(_part(*part) for part in parts))
            for key, (dtype, shape, parts) in fields["tensors"].items()
        }
        paths = {key: _path(path) for key, path in fields["paths"].items()}
        return Index(tensors, fields["objects"], tuple(fields["objects_start"]), paths)
    except (ValueError, KeyError, TypeError) as error:
        raise UnknownFormatError(f"{INDEX_NAME} cannot be read: {error!r}") from error


def make(images: Sequence[Image], objects: Mapping[str, int], paths: Mapping[str, Path]) -> Index:
    """Make the index of what the ranks' images hold, rank by rank."""
    parts: dict[str, list[Part]] = {}
    about: dict[str, tuple[str, tuple[int, ...]]] = {}
    for rank, image in enumerate(images):
        for chunk, place in zip(image.chunks, image.places, strict=True):
            about[chunk.key] = (chunk.dtype, chunk.shape)
            part = Part(rank, place, chunk.offsets, chunk.sizes)
            parts.setdefault(chunk.key, []).append(part)
    tensors = {key: Stored(*about[key], tuple(parts[key])) for key in about}
    return Index(tensors, objects, tuple(image.data_end for image in images), paths)


def _part(rank: int, place: int, offsets: list[int], sizes: list[int]) -> Part:
    return Part(rank, place, tuple(offsets), tuple(sizes))


def _path(path: list[Any]) -> Path:
    return tuple(tuple(element) if isinstance(element, list) else element for element in path)
