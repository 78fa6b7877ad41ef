"""Random numbers inside the data set: the same for a sample whenever and wherever it is loaded.

A sample's augmentation follows from (seed, epoch, index). It does not matter which worker loads it,
what that worker loaded before, or what was prefetched when the program was killed.
"""

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.utils.data import get_worker_info

from slurmkit.train.mixing import mix


class Part(NamedTuple):
    """Which samples a rank takes in one step; what travels to the loader's workers."""

    epoch: int
    indices: list[int]


class SeededDataset:
    """A map-style data set whose random numbers are a function of the sample.

    Args:
        dataset: has ``__getitem__`` or ``__getitems__``. The latter takes many samples at once, so
            there the seed is one per batch, and follows from its first sample.
        seed: of the whole run.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self._seed = seed
        self._many = getattr(dataset, "__getitems__", None)

    def __getitems__(self, part: Part) -> list[Any]:
        """Return the samples of one part; the loader's fetcher calls this."""
        # A worker process has nobody else's random numbers to keep.
        if get_worker_info() is not None:
            return list(self._samples(part))
        with random_kept():
            return list(self._samples(part))

    def _samples(self, part: Part) -> Iterable[Any]:
        if self._many is not None:
            seed_all(mix(self._seed, part.epoch, part.indices[0]))
            yield from self._many(part.indices)
            return
        for index in part.indices:
            seed_all(mix(self._seed, part.epoch, index))
            yield self.dataset[index]


def seed_all(seed: int) -> None:
    """Seed python's, numpy's and torch's CPU generators of this process with 64 bits."""
    random.seed(seed)
    torch.default_generator.manual_seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed & 0xFFFFFFFF)  # more bits make this eight times slower


@contextmanager
def random_kept() -> Iterator[None]:
    """Leave python's, numpy's and torch's CPU generators as they were found."""
    numpy: Any = sys.modules.get("numpy")
    python_state = random.getstate()
    torch_state = torch.default_generator.get_state()
    if numpy is not None:
        # Another generator in its place: copying its state there and back takes 80 us.
        numpy_generator = numpy.random.get_bit_generator()
        numpy.random.set_bit_generator(_spare_generator(numpy))
    try:
        yield
    finally:
        random.setstate(python_state)
        torch.default_generator.set_state(torch_state)
        if numpy is not None:
            numpy.random.set_bit_generator(numpy_generator)


@cache
def _spare_generator(numpy: Any) -> Any:
    return numpy.random.MT19937(0)
