"""A data loader that goes on where it was: at once, on any number of ranks, every sample once.

The position is one number, the samples that all ranks together have seen in this epoch. The order
of the epoch is a function of the seed and the epoch, and each step takes the next samples of that
order, so nothing else has to be saved and nothing has to be replayed.
"""

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, IterableDataset

from slurmkit.train.errors import ResumeError, TrainError
from slurmkit.train.permutation import epoch_order
from slurmkit.train.seeding import Part, SeededDataset


class Share(NamedTuple):
    """A rank among those that share the data."""

    rank: int
    world_size: int


def step_size(remaining: int, global_batch: int, world_size: int) -> int:
    """Return how many samples the next step of all ranks takes.

    The last step of an epoch takes what is left, up to one sample per rank more than the others, so
    that no rank is left without a sample as long as there are as many samples as ranks.
    """
    return remaining if remaining < global_batch + world_size else global_batch


def rank_part(size: int, share: Share) -> tuple[int, int]:
    """Return which of the samples of a step a rank takes, as (start, stop): as even as possible."""
    small, larger = divmod(size, share.world_size)
    start = share.rank * small + min(share.rank, larger)
    return start, start + small + (share.rank < larger)


class _Parts:
    """The steps that are left of an epoch, as a batch sampler; starts where the loader is."""

    def __init__(self, loader: "ResumableLoader") -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Part]:
        loader = self._loader
        epoch, seen = loader.epoch, loader.seen
        order = epoch_order(loader.num_samples, loader.seed, epoch, shuffle=loader.shuffle)
        for size in loader.step_sizes(seen):
            start, stop = rank_part(size, loader.share)
            if start == stop:  # fewer samples than ranks: this rank repeats one of them
                start = loader.share.rank % size
                stop = start + 1
            yield Part(epoch, order.part(seen + start, seen + stop))
            seen += size

    def __len__(self) -> int:
        return sum(1 for _ in self._loader.step_sizes(self._loader.seen))


class ResumableLoader:
    """Batches of a map-style data set, for one rank.

    It has ``state_dict`` and ``load_state_dict``, the protocol of torchdata's StatefulDataLoader.
    The state is the same on all ranks and fits any number of them.

    Args:
        dataset: has ``__len__`` and ``__getitem__`` or ``__getitems__``.
        share: which rank of how many this is.
        batch_size: samples per rank and step.
        global_batch_size: samples per step of all ranks together, instead of ``batch_size``: the
            steps are then the same ones on another number of ranks.
        shuffle: a new order in each epoch, which follows from the seed.
        seed: of the order and of the random numbers inside the data set.
        drop_last: leave out the samples that do not fill the last step, instead of a last step of
            another size.
        options: for torch's DataLoader: ``num_workers``, ``collate_fn``, ``pin_memory`` and so on.

    Raises:
        TrainError: the sizes make no sense, or an option has no meaning here.
    """

    def __init__(  # noqa: PLR0913 - the keywords of torch's DataLoader, which people know
        self,
        dataset: Any,
        share: Share,
        *,
        batch_size: int = 1,
        global_batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        **options: Any,
    ) -> None:
        self.share = share
        self.global_batch = (
            global_batch_size if global_batch_size is not None else batch_size * share.world_size
        )
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.seen = 0
        self._drop_last = drop_last
        self.num_samples = _counted(dataset)
        self._check(options)
        self._loader: DataLoader[Any] = DataLoader(
            SeededDataset(dataset, seed),  # type: ignore[arg-type]  # it has what the fetcher uses
            batch_sampler=_Parts(self),  # type: ignore[arg-type]
            # torch draws a seed for the workers at each start: not from the program's generator,
            # which has to be the same after a resume.
            generator=torch.Generator(),
            **options,
        )

    def _check(self, options: dict[str, Any]) -> None:
        if self.global_batch < self.share.world_size:
            raise TrainError(
                f"a step of {self.global_batch} samples is too small for"
                f" {self.share.world_size} ranks",
                hint="each rank needs at least one sample per step",
            )
        if not self.num_samples or (self._drop_last and self.num_samples < self.global_batch):
            raise TrainError(
                f"the data set has {self.num_samples} samples, and a step takes"
                f" {self.global_batch}",
                hint="nothing would be trained; check the path of the data or the batch size",
            )
        for name in ("sampler", "batch_sampler", "generator"):
            if name in options:
                raise TrainError(
                    f"the loader orders the samples itself and takes no {name}",
                    hint="give shuffle= and seed=, or your own loader to run.state(loader=...)",
                )

    def step_sizes(self, seen: int) -> Iterator[int]:
        """Yield how many samples each step takes that is left when ``seen`` are gone."""
        remaining = self.num_samples - seen
        while remaining:
            if self._drop_last:
                if remaining < self.global_batch:
                    return
                size = self.global_batch
            else:
                size = step_size(remaining, self.global_batch, self.share.world_size)
            yield size
            remaining -= size

    def __len__(self) -> int:
        """Return the steps of a whole epoch."""
        return sum(1 for _ in self.step_sizes(0))

    @property
    def at_end(self) -> bool:
        """Whether nothing is left of this epoch."""
        return not next(self.step_sizes(self.seen), 0)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches that are left of this epoch, or those of the next when none is left."""
        if self.at_end:  # whoever counted the batches did not ask for one more
            self.set_epoch(self.epoch + 1)
        for size, batch in zip(self.step_sizes(self.seen), self._loader, strict=True):
            self.seen += size
            yield batch
        self.set_epoch(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless it is the one that the loader is in."""
        if epoch != self.epoch:
            self.epoch, self.seen = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the position; the batch that was yielded last counts as seen."""
        return {
            "epoch": self.epoch,
            "seen": self.seen,
            "num_samples": self.num_samples,
            "seed": self.seed,
            "shuffle": self.shuffle,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position.

        Raises:
            ResumeError: it was saved with other data, another seed or another order.
        """
        for name in ("num_samples", "seed", "shuffle"):
            here = getattr(self, name)
            if state[name] != here:
                raise ResumeError(
                    f"the checkpoint's loader has {name}={state[name]}, this one {name}={here}",
                    hint="the order of the samples would be another one: use the same data and"
                    " seed, or another checkpoint folder",
                )
        self.epoch, self.seen = state["epoch"], state["seen"]


def _counted(dataset: Any) -> int:
    try:
        return len(dataset)
    except TypeError:
        raise TrainError(
            f"{type(dataset).__name__} has no length",
            hint="a data set needs __len__ and __getitem__; a stream is an IterableDataset",
        ) from None


def stream_loader(dataset: "IterableDataset[Any]", **options: Any) -> Any:
    """Return torchdata's StatefulDataLoader over a data set that is a stream.

    Its state is that of each worker's copy of the data set, so it fits the same number of ranks and
    of workers only.

    Raises:
        TrainError: the data set cannot tell its state, or torchdata is missing.
    """
    if not (hasattr(dataset, "state_dict") and hasattr(dataset, "load_state_dict")):
        raise TrainError(
            f"{type(dataset).__name__} is a stream without state_dict and load_state_dict,"
            " so nobody can tell where it was",
            hint="add both methods (what they return is saved for each rank and worker), use a"
            " map-style data set, or give your own loader to run.state(loader=...)",
        )
    for name in ("shuffle", "seed", "global_batch_size"):
        if options.pop(name, None):
            raise TrainError(
                f"{name}= means nothing for a stream: it comes in its own order",
                hint="shuffle inside the data set and keep the generator in its state_dict",
            )
    try:
        torchdata = importlib.import_module("torchdata.stateful_dataloader")  # few programs need it
    except ImportError:
        raise TrainError(
            "a stream needs torchdata to save its workers' state", hint="pip install torchdata"
        ) from None
    return torchdata.StatefulDataLoader(dataset, generator=torch.Generator(), **options)
