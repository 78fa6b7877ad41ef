"""Which parts of DTensors a rank has and needs: torch's own planners know that best.

Imported only where a state has a DTensor; see `slurmkit.checkpoint.tensors.kinds`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    STORAGE_TYPES,
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import SavePlan, WriteItem

from slurmkit.checkpoint.tensors.image import Chunk
from slurmkit.checkpoint.tensors.index import Stored
from slurmkit.checkpoint.tensors.kinds import dtype_name
from slurmkit.checkpoint.tensors.overlap import Overlap


def save_plan(tensors: Mapping[str, torch.Tensor]) -> SavePlan:
    """Return what this rank could write of these tensors.

    Raises:
        ValueError, RuntimeError, NotImplementedError: torch cannot plan a save of one of them.
    """
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    planner.set_up_planner(dict(tensors))
    return planner.create_local_plan()


def divide(plans: Sequence[SavePlan]) -> list[list[Chunk]]:
    """Give every part to one rank: what many ranks have goes to the one with the least to write.

    Raises:
        ValueError, AssertionError: the ranks' parts do not make up whole tensors.
    """
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    divided, _ = planner.create_global_plan(list(plans))
    return [[_chunk(item) for item in plan.items] for plan in divided]


def overlaps(stored: Mapping[str, Stored], tensors: Mapping[str, torch.Tensor]) -> list[Overlap]:
    """Return the stored parts that overlap with what this rank has of each tensor."""
    metadata: dict[str, STORAGE_TYPES] = {key: _metadata(stored[key]) for key in tensors}
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    planner.set_up_planner(dict(tensors), Metadata(state_dict_metadata=metadata))
    found = []
    for item in planner.create_local_plan().items:
        number = item.storage_index.index
        assert number is not None
        found.append(
            Overlap(
                item.dest_index.fqn,
                number,
                tuple(item.dest_offsets),
                tuple(item.storage_offsets),
                tuple(item.lengths),
            )
        )
    return found


def _chunk(item: WriteItem) -> Chunk:
    data = item.tensor_data
    assert data is not None
    dtype = data.properties.dtype
    return Chunk(
        item.index.fqn,
        dtype_name(dtype),
        dtype.itemsize,
        tuple(data.size),
        tuple(data.chunk.offsets),
        tuple(data.chunk.sizes),
    )


def _metadata(stored: Stored) -> TensorStorageMetadata:
    return TensorStorageMetadata(
        TensorProperties(dtype=getattr(torch, stored.dtype)),
        torch.Size(stored.shape),
        [
            ChunkStorageMetadata(torch.Size(part.offsets), torch.Size(part.sizes))
            for part in stored.parts
        ],
    )
