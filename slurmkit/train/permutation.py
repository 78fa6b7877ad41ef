"""The order of the samples in one epoch, as a function of seed and epoch alone.

Any part of the order can be asked for without what stands before it, so a run that resumes in the
middle of an epoch does not walk through the first half of it.
"""

from typing import Protocol

import numpy as np

from slurmkit.train.mixing import Array, mix, mix_array

#: Up to here the whole order is computed at once: 8 MiB, and about 0.1 s once per epoch.
SORTED_UP_TO = 1 << 20
_ROUNDS = 8
_BLOCK = 4096


class Order(Protocol):
    """An order of the numbers below a size."""

    def part(self, start: int, stop: int) -> list[int]:
        """Return what stands at the places from start up to stop."""
        ...


class InOrder:
    """0, 1, 2 and so on."""

    def part(self, start: int, stop: int) -> list[int]:
        """Return what stands at the places from start up to stop."""
        return list(range(start, stop))


class Sorted:
    """Shuffled by sorting random keys: each order is as likely as every other.

    Args:
        size: how many numbers.
        key: which of the orders; see `mixing.mix`.
    """

    def __init__(self, size: int, key: int) -> None:
        keys = mix_array(np.arange(size, dtype=np.uint64), key)
        self._order = np.argsort(keys, kind="stable")

    def part(self, start: int, stop: int) -> list[int]:
        """Return what stands at the places from start up to stop."""
        numbers: list[int] = self._order[start:stop].tolist()
        return numbers


class Walked:
    """Shuffled without memory, for data sets of any size: a small cipher over their indices.

    A Feistel network permutes the numbers of as many bits as the size needs; what falls outside is
    enciphered again until it falls inside (cycle walking), fewer than twice on average.

    Args:
        size: how many numbers.
        key: which of the orders.
    """

    def __init__(self, size: int, key: int) -> None:
        self._size = size
        bits = max(2, (size - 1).bit_length())
        # One half has a bit more than the other when the number of bits is odd.
        self._widths = (bits // 2, bits - bits // 2)
        self._keys = [mix(key, number) for number in range(_ROUNDS)]
        self._block: tuple[int, list[int]] = (-1, [])

    def part(self, start: int, stop: int) -> list[int]:
        """Return what stands at the places from start up to stop."""
        numbers: list[int] = []
        while start < stop:
            which, first = divmod(start, _BLOCK)
            if self._block[0] != which:
                self._block = (which, self._computed(which * _BLOCK))
            part = self._block[1][first : first + stop - start]
            numbers += part
            start += len(part)
        return numbers

    def _computed(self, start: int) -> list[int]:
        stop = min(start + _BLOCK, self._size)
        numbers = self._encipher(np.arange(start, stop, dtype=np.uint64))
        while (outside := numbers >= self._size).any():
            numbers[outside] = self._encipher(numbers[outside])
        computed: list[int] = numbers.tolist()
        return computed

    def _encipher(self, numbers: Array) -> Array:
        low_bits, high_bits = self._widths
        for key in self._keys:
            low = numbers & np.uint64((1 << low_bits) - 1)
            high = numbers >> np.uint64(low_bits)
            high = (high ^ mix_array(low, key)) & np.uint64((1 << high_bits) - 1)
            # The halves change places, and their widths with them.
            numbers = (low << np.uint64(high_bits)) | high
            low_bits, high_bits = high_bits, low_bits
        return numbers


def epoch_order(size: int, seed: int, epoch: int, *, shuffle: bool) -> Order:
    """Return the order of an epoch of ``size`` samples."""
    if not shuffle:
        return InOrder()
    key = mix(seed, epoch, size)
    return Sorted(size, key) if size <= SORTED_UP_TO else Walked(size, key)
