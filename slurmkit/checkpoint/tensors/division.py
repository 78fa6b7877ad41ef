"""Who writes which of the tensors that every rank has as a whole; pure."""

from collections.abc import Mapping, Sequence

import torch

from slurmkit.checkpoint.tensors.image import Chunk
from slurmkit.checkpoint.tensors.kinds import dtype_name


def whole_chunks(tensors: Mapping[str, torch.Tensor]) -> list[Chunk]:
    """Return each tensor as one part."""
    return [
        Chunk(
            key,
            dtype_name(tensor.dtype),
            tensor.dtype.itemsize,
            tuple(tensor.shape),
            (0,) * tensor.dim(),
            tuple(tensor.shape),
        )
        for key, tensor in tensors.items()
    ]


def divide_whole(offers: Sequence[Sequence[Chunk]]) -> list[list[Chunk]]:
    """Give each tensor to one rank of those that have it: to the one with the least to write.

    Args:
        offers: per rank, what it has.

    Returns:
        per rank, what it writes.

    Raises:
        ValueError: two ranks have tensors of one name and of different type or shape.
    """
    owners: dict[str, tuple[Chunk, list[int]]] = {}
    for rank, chunks in enumerate(offers):
        for chunk in chunks:
            first, ranks = owners.setdefault(chunk.key, (chunk, []))
            if (first.dtype, first.shape) != (chunk.dtype, chunk.shape):
                raise ValueError(
                    f"{chunk.key} is {first.dtype} {list(first.shape)} on rank {ranks[0]} and"
                    f" {chunk.dtype} {list(chunk.shape)} on rank {rank}"
                )
            ranks.append(rank)
    divided: list[list[Chunk]] = [[] for _ in offers]
    load = [0] * len(offers)
    for chunk, ranks in owners.values():
        rank = min(ranks, key=lambda number: (load[number], number))
        divided[rank].append(chunk)
        load[rank] += chunk.size_bytes
    return divided
