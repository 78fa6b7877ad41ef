"""A run that was killed again and again ends with the same bits as one that never was."""

import random

import pytest

LAST = 26  # steps of 2 epochs of 203 samples, 16 at a time


def kill_until_done(ranks, folder, workers, num_kills, chosen):
    """Kill a run at random points, then let it end; return its results and what the kills met."""
    met = []
    while True:
        kill = None
        if len(met) < num_kills:
            done = met[-1]["steps"][-1] if met and met[-1]["steps"] else 0
            # Somewhere in the next steps: in one, in a save, or right after a commit.
            step = min(done + chosen.randint(1, 4), LAST - 1)
            who = chosen.choice([[0], [1], [0, 1]])
            kill = {"step": step, "after_s": chosen.random() * 0.03}
            kill |= {"ranks": who, "signal": "SIGKILL"}
        end = ranks(folder, workers=workers, step_s=0.004, orders=[kill] if kill else [])
        if kill is None:
            return end, met
        assert -9 in end["codes"], end
        met.append(end)
        if end["steps"] and end["steps"][-1] >= LAST - 4:  # too near to the end: a fresh folder
            return None, met


@pytest.mark.parametrize(("workers", "num_kills"), [(0, 14), (2, 8)])
def test_the_same_bits_after_random_kills(ranks, tmp_path, workers, num_kills):
    check(ranks, tmp_path, workers, num_kills, random.Random(workers))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("workers", "num_kills"), [(0, 60), (2, 50)])
def test_the_same_bits_after_many_random_kills(ranks, tmp_path, workers, num_kills):
    check(ranks, tmp_path, workers, num_kills, random.Random(100 + workers))


def check(ranks, folder, workers, num_kills, chosen):
    undisturbed = ranks(folder / "undisturbed", workers=workers)
    assert undisturbed["codes"] == [0, 0]
    expected = [result["digest"] for result in undisturbed["results"]]
    assert expected[0] != expected[1]  # each rank has its own diary
    num, rounds = 0, 0
    while num < num_kills:
        rounds += 1
        end, met = kill_until_done(
            ranks, folder / f"killed-{rounds}", workers, min(num_kills - num, 6), chosen
        )
        num += len(met)
        if end is None:
            end = ranks(folder / f"killed-{rounds}", workers=workers)
        assert end["codes"] == [0, 0]
        assert [result["digest"] for result in end["results"]] == expected
        assert end["results"][0]["step"] == LAST
