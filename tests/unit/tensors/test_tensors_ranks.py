"""Saving on N ranks, loading on M, in every sharding; and what all ranks must agree on."""

import itertools

import pytest


@pytest.mark.parametrize(("saved_by", "loaded_by"), [(2, 3), (3, 1), (1, 2)])
def test_shards_on_another_number_of_ranks(on_ranks, saved_by, loaded_by):
    on_ranks("save_shards", saved_by)
    on_ranks("load_shards", loaded_by)


def test_a_synchronous_save_tells_every_rank(on_ranks):
    on_ranks("save_shards", 2, asynchronous=False)
    on_ranks("load_shards", 2)


@pytest.mark.parametrize(
    ("saved", "loaded"), [(("fsdp2", 2), ("ddp", 2)), (("ddp", 2), ("fsdp2", 3))]
)
def test_a_model_changes_its_parallelism(on_ranks, saved, loaded):
    on_ranks("train_and_save", saved[1], kind=saved[0])
    on_ranks("load_trained", loaded[1], kind=loaded[0])


@pytest.mark.long
@pytest.mark.parametrize(
    ("saved", "loaded"),
    list(itertools.product([("fsdp2", 3), ("ddp", 3), ("plain", 1), ("fsdp2", 4)], repeat=2)),
)
def test_every_change_of_parallelism(on_ranks, saved, loaded):
    on_ranks("train_and_save", saved[1], kind=saved[0])
    on_ranks("load_trained", loaded[1], kind=loaded[0])


def test_replicated_values_are_written_once_and_spread(on_ranks):
    on_ranks("replicas_spread", 3)


@pytest.mark.parametrize("both", [False, True])
def test_damage_is_an_error_on_all_ranks(on_ranks, both):
    on_ranks("corrupt_for_all", 2, both=both)


def test_a_state_that_cannot_be_saved_is_an_error_on_all_ranks(on_ranks):
    on_ranks("unsupported_for_all", 2)
