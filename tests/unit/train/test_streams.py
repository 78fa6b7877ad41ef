"""Streams and loaders of one's own, and what is light to import."""

import subprocess
import sys

import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from slurmkit.train import Session, TrainError


class Stream(IterableDataset):
    """Counts; each worker has a part, and knows where it is."""

    def __init__(self, size=40):
        self.size = size
        self.place = 0

    def __iter__(self):
        worker = get_worker_info()
        number, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for value in range(number, self.size, num_workers)[self.place :]:
            self.place += 1
            yield value
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Forgetful(IterableDataset):
    def __iter__(self):
        return iter(range(10))


@pytest.fixture(autouse=True)
def alone(monkeypatch, clean_env):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)


def taken(folder, num_workers, stop_at=None):
    """Return the batches of a program that ends itself after some of them, as if it were killed."""
    batches = []
    with Session(folder=folder, every=1, asynchronous=False) as run:
        loader = run.loader(Stream(), batch_size=4, num_workers=num_workers)
        state = run.state(loader=loader)
        for batch in state.batches(epochs=2):
            batches.append(batch.tolist())
            if state.step == stop_at:
                break
    return batches


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata 0.11, torch 2.13
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stream_goes_on_where_it_was(tmp_path, num_workers):
    whole = taken(tmp_path / "whole", num_workers)
    assert len(whole) == 20
    first = taken(tmp_path / "two", num_workers, stop_at=7)
    assert first == whole[:8]
    assert taken(tmp_path / "two", num_workers) == whole[7:]  # step 7 was the last one saved


def test_a_stream_that_cannot_tell_where_it_is(tmp_path):
    with Session(folder=tmp_path) as run:
        with pytest.raises(TrainError, match="Forgetful is a stream without state_dict"):
            run.loader(Forgetful())
        with pytest.raises(TrainError, match="shuffle= means nothing"):
            run.loader(Stream(), shuffle=True)
        with pytest.raises(TrainError, match="list cannot tell where it is"):
            run.state(loader=[1, 2])


def test_plain_values_and_accumulation(tmp_path):
    def train(steps):
        with Session(folder=tmp_path, every=1, asynchronous=False) as run:
            weight = torch.nn.Parameter(torch.ones(1))
            optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
            loader = run.loader(list(range(10)), batch_size=1)
            state = run.state(optimizer=optimizer, loader=loader, history=[], best=torch.zeros(2))
            with pytest.raises(TrainError, match="called before"):
                run.state(loader=loader)
            with pytest.raises(TrainError, match="other was not given"):
                state["other"] = 1
            for batch in state.batches(steps=steps, accumulate=4):
                state["history"] = [*state["history"], batch.item()]
                state["best"] = state["best"] + 1
            return state.step, state.epoch, state["history"], state["best"].tolist()

    # 10 batches are 3 optimizer steps: of 4, of 4, and of the 2 that are left.
    assert train(2) == (2, 0, list(range(8)), [8, 8])
    assert train(4) == (4, 1, [*range(10), *range(4)], [14, 14])


def test_importing_the_package_does_not_import_torch():
    code = "import sys, slurmkit.train; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False False\n"
