"""What ranks send and what they must get: numbers that only a right result contains.

All of them are whole and small enough for a 32-bit float to hold their sums exactly, in any order
of adding. So results are compared byte by byte, without numpy.
"""

import struct

# A prime, so that a block that lands in a wrong place does not look like its neighbour.
_PERIOD = 251
_KINDS = 8


def give(rank: int, size_bytes: int) -> bytes:
    """Return what one rank gives."""
    return _tile(_weight(rank), size_bytes)


def summed(num_ranks: int, size_bytes: int) -> bytes:
    """Return the sum over all ranks of what they give."""
    return _tile(sum(_weight(rank) for rank in range(num_ranks)), size_bytes)


def gathered(num_ranks: int, size_bytes: int) -> bytes:
    """Return what all ranks give, one after the other; each gives an equal part of the size."""
    share = size_bytes // num_ranks
    return b"".join(give(rank, share) for rank in range(num_ranks))


def first_difference(got: bytes | bytearray | memoryview, wanted: bytes) -> int | None:
    """Return the offset of the first byte that is wrong; None when all are right."""
    if len(got) == len(wanted) and got == wanted:
        return None
    pairs = zip(bytes(got), wanted, strict=False)
    shorter = min(len(got), len(wanted))
    return next((i for i, (one, other) in enumerate(pairs) if one != other), shorter)


def _weight(rank: int) -> int:
    return rank % _KINDS + 1


def _tile(weight: int, size_bytes: int) -> bytes:
    # 251 * 4.5 N stays below 2**24, where floats begin to skip whole numbers, up to 14,000 ranks.
    period = struct.pack(f"<{_PERIOD}f", *(weight * (i + 1) for i in range(_PERIOD)))
    return (period * (size_bytes // len(period) + 1))[:size_bytes]
