"""Arrays that are spread over ranks, put together from what each rank says of its blocks; pure."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from slurmkit.checkpoint.errors import SaveFailedError
from slurmkit.checkpoint.tiling import Block, tiling_problem


@dataclasses.dataclass(frozen=True)
class GlobalArray:
    """An array that is spread over the files of ranks.

    Attributes:
        shape: of all of it.
        dtype: NumPy's name for its type, with byte order.
        blocks: who holds what.
    """

    shape: tuple[int, ...]
    dtype: str
    blocks: tuple[Block, ...]


def merge_arrays(ranks: Sequence[tuple[int, dict[str, dict[str, Any]]]]) -> dict[str, GlobalArray]:
    """Put together what all ranks say about their blocks; pure.

    Raises:
        SaveFailedError: ranks contradict each other, or the blocks of an array overlap or leave
            something out.
    """
    arrays: dict[str, GlobalArray] = {}
    for rank, said in ranks:
        for name, row in said.items():
            shape = tuple(row["shape"])
            known = arrays.setdefault(name, GlobalArray(shape, row["dtype"], ()))
            if (known.shape, known.dtype) != (shape, row["dtype"]):
                raise SaveFailedError(
                    f"rank {rank} says that {name} is {row['dtype']} {shape}, others that it is"
                    f" {known.dtype} {known.shape}"
                )
            if row["offset"] is None and rank != 0:
                continue
            offset = row["offset"] if row["offset"] is not None else [0] * len(shape)
            block = Block(rank, tuple(offset), tuple(row["block"]))
            arrays[name] = dataclasses.replace(known, blocks=(*known.blocks, block))
    for name, array in arrays.items():
        if problem := tiling_problem(array.shape, array.blocks):
            raise SaveFailedError(
                f"the blocks of {name} do not make up an array of shape {array.shape}: {problem}"
            )
    return arrays
