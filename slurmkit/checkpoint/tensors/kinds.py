"""What kind a tensor is, without importing what it is not.

torch's DTensor and its planners take up to 0.6 s to import, which a restart after a failure would
wait for; a tensor can only be one where the program itself has imported it.
"""

import sys
from typing import TypeGuard

import torch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

_DTENSOR = "torch.distributed.tensor", "DTensor"
_SHARDED = "torch.distributed._shard.sharded_tensor.api", "ShardedTensor"


def is_dtensor(value: object) -> "TypeGuard[DTensor]":
    """Whether this is a DTensor, as FSDP2 and tensor parallelism make them."""
    return _is_a(value, *_DTENSOR)


def is_sharded_tensor(value: object) -> bool:
    """Whether this is a ShardedTensor, as FSDP1 made them."""
    return _is_a(value, *_SHARDED)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return what of a tensor is in this process, without its history."""
    mine: torch.Tensor = tensor.detach()
    return mine.to_local() if is_dtensor(mine) else mine


def dtype_name(dtype: torch.dtype) -> str:
    """Return ``float32`` for torch.float32."""
    return str(dtype).removeprefix("torch.")


def _is_a(value: object, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)
