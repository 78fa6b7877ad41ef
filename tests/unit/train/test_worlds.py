"""Another number of ranks: every sample is still seen exactly once in each epoch."""

import random

import pytest

SAMPLES = list(range(203))


def go(ranks, folder, worlds, chosen, **task):
    """Run on each number of ranks in turn, stopped or killed in between, and return the end."""
    for world in worlds[:-1]:
        signal = chosen.choice(["SIGUSR2", "SIGKILL"])
        # Steps are counted from where this attempt took over; it has saved after at most 2 more.
        begun = max(ranks_steps(folder), default=0)
        orders = [{"step": begun + 5, "signal": signal, "ranks": list(range(world))}]
        end = ranks(
            folder, world=world, any_world=True, every=2, step_s=0.01, orders=orders, **task
        )
        assert set(end["codes"]) <= {75, -9}, end
    return ranks(folder, world=worlds[-1], any_world=True, every=2, **task)


def ranks_steps(folder):
    return [
        int(path.name[5:])
        for path in (folder / "checkpoints").glob("step-*")
        if "." not in path.name
    ]


PER_RANK, GLOBAL = {"batch_size": 4}, {"global_batch_size": 12}


@pytest.mark.parametrize(
    ("worlds", "batch"),
    [
        ([2, 3, 2], PER_RANK),
        ([2, 1, 2], GLOBAL),
        pytest.param([2, 1, 2], PER_RANK, marks=pytest.mark.long),
        pytest.param([2, 3, 2], GLOBAL, marks=pytest.mark.long),
        pytest.param([1, 4, 2, 3, 1], PER_RANK, marks=pytest.mark.long),
    ],
)
def test_every_sample_once_per_epoch(ranks, tmp_path, worlds, batch):
    chosen = random.Random(str((worlds, batch)))
    end = go(ranks, tmp_path, worlds, chosen, loader=batch)
    assert end["codes"] == [0] * worlds[-1], end
    seen = end["results"][0]["seen"]
    assert sorted(seen) == ["0", "1"]
    for epoch in seen.values():
        assert sorted(epoch) == SAMPLES
    assert seen["0"] != seen["1"]


def test_with_one_global_batch_the_order_is_the_same_on_any_number(ranks, tmp_path):
    def order(world):
        end = ranks(
            tmp_path / str(world), world=world, any_world=True, loader={"global_batch_size": 12}
        )
        return end["results"][0]["seen"]

    assert order(1) == order(2)
