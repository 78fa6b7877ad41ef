"""Who writes what of tensors that every rank has, without torch's planners for shards."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.checkpoint.tensors.division import divide_whole, whole_chunks

Names = st.sets(st.sampled_from("abcdefgh"))


def offer(names: set[str]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(ord(name) - ord("a") + 1) for name in sorted(names)}


@given(st.lists(Names, min_size=1, max_size=5))
def test_every_tensor_is_written_once_by_a_rank_that_has_it(ranks: list[set[str]]) -> None:
    divided = divide_whole([whole_chunks(offer(names)) for names in ranks])
    written = [chunk.key for chunks in divided for chunk in chunks]
    assert sorted(written) == sorted(set().union(*ranks))
    for names, chunks in zip(ranks, divided, strict=True):
        assert {chunk.key for chunk in chunks} <= names


def test_ranks_share_the_work() -> None:
    tensors = {str(number): torch.zeros(100) for number in range(8)}
    divided = divide_whole([whole_chunks(tensors)] * 4)
    assert [len(chunks) for chunks in divided] == [2, 2, 2, 2]


def test_tensors_of_one_name_must_be_alike() -> None:
    with pytest.raises(
        ValueError, match=r"w is float32 \[2\] on rank 0 and float32 \[3\] on rank 1"
    ):
        divide_whole([whole_chunks({"w": torch.zeros(2)}), whole_chunks({"w": torch.zeros(3)})])


def test_a_plain_state_needs_no_planners(tmp_path: object) -> None:
    """They take long to import, and every restart would wait for them."""
    program = f"""
import sys, torch
from slurmkit.train import Session
for _ in range(2):
    with Session(folder={str(tmp_path)!r}, every="1", asynchronous=False) as run:
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        loader = run.loader([(0, torch.zeros(2))] * 2, batch_size=1)
        state = run.state(model=model, optimizer=optimizer, loader=loader)
        for _, values in state.batches(epochs=1):
            model(values).sum().backward()
            optimizer.step()
assert state.step == 2, state.step
found = [name for name in sys.modules if name.startswith("torch.distributed.checkpoint")]
sys.exit(" ".join(found) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
