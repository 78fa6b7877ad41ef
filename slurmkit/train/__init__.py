"""What a PyTorch program uses: session, resumable loader, agreement on when to save and to stop.

    from slurmkit.train import Session

    with Session() as run:
        loader = run.loader(dataset, batch_size=8, shuffle=True, seed=0, num_workers=2)
        state = run.state(model=model, optimizer=optimizer, loader=loader)
        for batch in state.batches(epochs=3):
            ...

torch is imported when one of the names is asked for, and not before.
"""

from typing import TYPE_CHECKING

__all__ = [
    "PerRank",
    "ResumableLoader",
    "ResumeError",
    "Session",
    "Share",
    "Stopped",
    "TrainError",
    "TrainState",
]

if TYPE_CHECKING:
    from slurmkit.checkpoint.tensors import PerRank
    from slurmkit.train.errors import ResumeError, TrainError
    from slurmkit.train.loader import ResumableLoader, Share
    from slurmkit.train.saver import Stopped
    from slurmkit.train.session import Session
    from slurmkit.train.state import TrainState

_HOMES = {
    "PerRank": "content",
    "ResumableLoader": "loader",
    "ResumeError": "errors",
    "Session": "session",
    "Share": "loader",
    "Stopped": "saver",
    "TrainError": "errors",
    "TrainState": "state",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
