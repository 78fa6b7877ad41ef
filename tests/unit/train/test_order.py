"""The order of the samples, and who takes which: laws that hold for every size."""

import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmkit.train.errors import ResumeError, TrainError
from slurmkit.train.loader import ResumableLoader, Share, rank_part, step_size
from slurmkit.train.permutation import Sorted, Walked, epoch_order


@given(
    size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1), kind=st.sampled_from([Sorted, Walked])
)
def test_an_order_is_a_permutation(size, key, kind):
    assert sorted(kind(size, key).part(0, size)) == list(range(size))


@given(size=st.integers(1, 20_000), key=st.integers(0, 2**64 - 1), data=st.data())
@settings(max_examples=50)
def test_any_part_is_that_of_the_whole(size, key, data):
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    for kind in (Sorted, Walked):
        assert kind(size, key).part(start, stop) == kind(size, key).part(0, size)[start:stop]


def test_orders_stay_what_they_are():
    # A checkpoint of an older release must go on in the same order: these numbers never change.
    assert epoch_order(10, 0, 0, shuffle=True).part(0, 10) == GOLDEN_SMALL
    assert epoch_order(10**9, 7, 3, shuffle=True).part(500, 504) == GOLDEN_LARGE


GOLDEN_SMALL = [7, 9, 1, 5, 3, 6, 2, 4, 0, 8]
GOLDEN_LARGE = [55474764, 435719061, 80617924, 465395852]


@pytest.mark.parametrize("size", [50, (1 << 20) + 3])
def test_epochs_and_seeds_have_orders_of_their_own(size):
    parts = {
        tuple(epoch_order(size, seed, epoch, shuffle=True).part(0, 20))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(parts) == 9
    assert epoch_order(size, 0, 0, shuffle=False).part(3, 6) == [3, 4, 5]


@pytest.mark.parametrize("kind", [Sorted, Walked])
def test_no_place_is_preferred(kind):
    counts = [0] * 8
    for key in range(4000):
        counts[kind(8, key * 7919).part(0, 1)[0]] += 1
    assert all(420 < count < 580 for count in counts), counts  # 500 expected, deviation 21


def test_a_huge_data_set_needs_no_memory():
    order = Walked(10**12, 5)
    part = order.part(10**11, 10**11 + 100)
    assert len(set(part)) == 100
    assert all(0 <= number < 10**12 for number in part)
    assert max(part) > 10**11


@given(remaining=st.integers(1, 500), batch=st.integers(1, 20), world=st.integers(1, 9))
def test_a_step_leaves_no_rank_without_a_sample(remaining, batch, world):
    size = step_size(remaining, batch * world, world)
    parts = [rank_part(size, Share(rank, world)) for rank in range(world)]
    assert parts[0][0] == 0
    assert parts[-1][1] == size
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    if remaining >= world:
        assert all(1 <= stop - start <= batch + 1 for start, stop in parts)
        rest = remaining - size
        assert rest == 0 or rest >= world


class Numbers:
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return index


def loaders(world, size=101, **options):
    options = {"batch_size": 4, "shuffle": True, "seed": 3} | options
    return [ResumableLoader(Numbers(size), Share(rank, world), **options) for rank in range(world)]


@given(
    plan=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), max_size=5),
    size=st.integers(5, 150),
    batch=st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_each_sample_once_whatever_the_number_of_ranks(plan, size, batch):
    state, seen = None, []
    for world, steps in [*plan, (2, 10_000)]:
        ranks = loaders(world, size, batch_size=batch)
        for loader in ranks:
            if state is not None:
                loader.load_state_dict(state)
        iterators = [iter(loader) for loader in ranks]
        for _ in range(steps):
            if ranks[0].at_end:
                break
            if size - ranks[0].seen < world:
                return  # fewer samples left than ranks: some are repeated, as the page says
            batches = [next(iterator) for iterator in iterators]
            seen += torch.cat(batches).tolist()
        states = [loader.state_dict() for loader in ranks]
        assert all(other == states[0] for other in states)
        state = states[0]
    assert sorted(seen) == list(range(size))


def test_it_resumes_at_any_batch_of_any_epoch():
    whole = loaders(1)[0]
    batches = []
    states = []
    for _ in range(3):
        for batch in whole:
            batches.append(batch.tolist())
            states.append(whole.state_dict())
    assert whole.epoch == 3
    assert len(batches) == 3 * len(whole)
    for place in (0, 7, len(whole) - 1, len(whole), 2 * len(whole) + 1):
        resumed = loaders(1)[0]
        resumed.load_state_dict(states[place])
        rest = []
        while resumed.epoch < 3:
            rest += [batch.tolist() for batch in resumed]
        assert rest == batches[place + 1 :]


def test_who_counts_the_batches_gets_the_next_epoch_as_well():
    loader, other = loaders(1)[0], loaders(1)[0]
    counted = []
    for _ in range(2):  # as Lightning does it: it never asks for the batch after the last one
        iterator = iter(loader)
        counted.append([next(iterator).tolist() for _ in range(len(loader))])
    assert counted == [[batch.tolist() for batch in other] for _ in range(2)]


def test_fewer_samples_than_ranks_repeat():
    parts = [next(iter(loader)).tolist() for loader in loaders(5, 3, batch_size=1, shuffle=False)]
    assert parts == [[0], [1], [2], [0], [1]]


def test_dropping_the_rest():
    loader = loaders(1, 10, batch_size=4, drop_last=True, shuffle=False)[0]
    assert [batch.tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(loader) == 2


class Augmented(Numbers):
    def __getitem__(self, index):
        return index, random.random(), torch.rand(()).item()


class AugmentedMany(Augmented):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


@pytest.mark.parametrize("kind", [Augmented, AugmentedMany])
def test_augmentation_does_not_depend_on_workers(kind):
    def samples(**options):
        loader = ResumableLoader(kind(31), Share(0, 1), batch_size=4, seed=5, **options)
        return [torch.stack(batch).tolist() for batch in loader]

    before = random.getstate(), torch.get_rng_state()
    here = samples()
    assert random.getstate() == before[0]  # the program's own numbers are not touched
    assert torch.equal(torch.get_rng_state(), before[1])
    assert samples(num_workers=2) == here
    assert len({value for batch in here for value in batch[1]}) == 31


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed": 4}, "seed=3, this one seed=4"),
        ({"size": 102}, "num_samples=101"),
        ({"shuffle": False}, "shuffle=True"),
    ],
)
def test_other_data_is_not_resumed(change, complaint):
    with pytest.raises(ResumeError, match=complaint):
        loaders(1, **change)[0].load_state_dict(loaders(1)[0].state_dict())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"size": 0}, "0 samples"),
        ({"size": 3, "drop_last": True}, "3 samples, and a step takes 4"),
        ({"sampler": []}, "takes no sampler"),
        ({"batch_size": 0}, "too small"),
    ],
)
def test_what_makes_no_sense_is_refused(options, complaint):
    with pytest.raises(TrainError, match=complaint):
        loaders(1, **options)


def test_a_data_set_needs_a_length():
    with pytest.raises(TrainError, match="object has no length"):
        ResumableLoader(object(), Share(0, 1))
