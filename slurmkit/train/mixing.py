"""Numbers that look random and depend on nothing but their inputs: seeds and orders of samples.

The arithmetic is our own and fixed, so that an order or a seed is the same with every release of
Python, numpy and torch: a checkpoint may outlive all of them. The mixing step is SplitMix64's
(Steele, Lea and Flood, 2014).
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.uint64]]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def mix(*numbers: int) -> int:
    """Return 64 bits that depend on every one of the numbers and on their order."""
    state = 0
    for number in numbers:
        state = (state ^ (number & _MASK)) + _GOLDEN & _MASK
        state = (state ^ (state >> 30)) * _FIRST & _MASK
        state = (state ^ (state >> 27)) * _SECOND & _MASK
        state ^= state >> 31
    return state


def mix_array(numbers: Array, key: int) -> Array:
    """Return 64 mixed bits for each number, (n,), under a key."""
    state = numbers ^ np.uint64(key)
    state = state + np.uint64(_GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    mixed: Array = state ^ (state >> np.uint64(31))
    return mixed
