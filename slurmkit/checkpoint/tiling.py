"""Do the blocks of all ranks make up a global array, each element exactly once? Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """The part of a global array that one rank holds.

    Attributes:
        rank: which.
        offset: where it begins, per dimension.
        shape: its extent, per dimension.
    """

    rank: int
    offset: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where the block is in the global array."""
        return tuple(slice(o, o + n) for o, n in zip(self.offset, self.shape, strict=True))

    @property
    def num_elements(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


def tiling_problem(shape: tuple[int, ...], blocks: Sequence[Block]) -> str:
    """Return what is wrong with blocks of a global array; empty when they are a partition of it.

    Args:
        shape: of the global array.
        blocks: one or more per rank.
    """
    for block in blocks:
        if len(block.shape) != len(shape) or len(block.offset) != len(shape):
            return f"the block of rank {block.rank} has {len(block.shape)} dimensions"
        ends = [o + n for o, n in zip(block.offset, block.shape, strict=True)]
        if min(block.offset, default=0) < 0 or any(e > n for e, n in zip(ends, shape, strict=True)):
            return f"the block of rank {block.rank} at {block.offset} reaches beyond {shape}"
    filled = [block for block in blocks if block.num_elements]
    if clash := _overlap(filled):
        return f"the blocks of ranks {clash[0].rank} and {clash[1].rank} overlap"
    missing = math.prod(shape) - sum(block.num_elements for block in filled)
    return f"{missing} elements are in no rank's block" if missing else ""


def intersects(
    offset: Sequence[int], shape: Sequence[int], other: Sequence[int], extent: Sequence[int]
) -> bool:
    """Return whether two boxes share an element; each is an offset and a shape."""
    boxes = zip(offset, shape, other, extent, strict=True)
    return all(o < p + m and p < o + n for o, n, p, m in boxes)


def _overlap(blocks: Sequence[Block]) -> tuple[Block, Block] | None:
    """Sweep along the first dimension; only blocks that are open at the same place are compared."""
    if blocks and not blocks[0].shape:  # scalars: more than one is one too many
        return (blocks[0], blocks[1]) if len(blocks) > 1 else None
    axis = _most_divided(blocks)
    active: list[Block] = []
    for block in sorted(blocks, key=lambda b: b.offset[axis]):
        start = block.offset[axis]
        active = [other for other in active if other.offset[axis] + other.shape[axis] > start]
        for other in active:
            if intersects(block.offset, block.shape, other.offset, other.shape):
                return other, block
        active.append(block)
    return None


def _most_divided(blocks: Sequence[Block]) -> int:
    """Return the dimension along which the blocks begin at the most places."""
    if not blocks:
        return 0
    dimensions = range(len(blocks[0].shape))
    return max(dimensions, key=lambda axis: len({block.offset[axis] for block in blocks}))
