"""Checkpoints of torch programs: sharded, asynchronous, and loaded on any number of ranks.

The writer process imports modules of this package, too, and must not load torch: the public names
come when they are asked for (PEP 562).
"""

from typing import TYPE_CHECKING

__all__ = [
    "PerRank",
    "SaveHandle",
    "SaveResult",
    "SpoiledStateError",
    "StateMismatchError",
    "TensorCheckpointer",
    "UnsupportedStateError",
    "WriterDiedError",
]

if TYPE_CHECKING:
    from slurmkit.checkpoint.tensors.checkpointer import TensorCheckpointer
    from slurmkit.checkpoint.tensors.errors import (
        SpoiledStateError,
        StateMismatchError,
        UnsupportedStateError,
        WriterDiedError,
    )
    from slurmkit.checkpoint.tensors.results import SaveHandle, SaveResult
    from slurmkit.checkpoint.tensors.tree import PerRank

_HOMES = {
    "TensorCheckpointer": "checkpointer",
    "PerRank": "tree",
    "SaveHandle": "results",
    "SaveResult": "results",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
