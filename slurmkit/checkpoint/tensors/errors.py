"""What can be wrong with a state, as opposed to a checkpoint on disk."""

from slurmkit.checkpoint.errors import CheckpointError, SaveFailedError


class UnsupportedStateError(CheckpointError):
    """The state holds something that cannot be saved; every rank raises it alike."""


class StateMismatchError(CheckpointError):
    """The checkpoint is sound but does not fit the state that it is loaded into."""


class SpoiledStateError(CheckpointError):
    """Loading failed half-way: the given tensors hold parts, and nothing older is there."""


class WriterDiedError(SaveFailedError):
    """The process that writes this rank's checkpoints ended; the next save starts another one."""
