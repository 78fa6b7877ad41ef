"""What a program is told about its saves."""

from dataclasses import dataclass

from slurmkit.checkpoint.errors import CheckpointError
from slurmkit.checkpoint.manifest import Manifest


@dataclass(frozen=True)
class SaveResult:
    """What came of a save.

    Attributes:
        step: which save.
        manifest: of the committed step, on rank 0 (after a synchronous save on every rank).
        error: why nothing was committed; on ranks other than 0 only what went wrong there.
        stall_s: how long the training stood still for it, seconds.
        save_s: from the call of `save` until the outcome was known, seconds.
    """

    step: int
    manifest: Manifest | None = None
    error: CheckpointError | None = None
    stall_s: float = 0.0
    save_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether this rank knows of nothing that went wrong."""
        return self.error is None


@dataclass(frozen=True)
class SaveHandle:
    """A save that was begun.

    Attributes:
        step: which step.
        stall_s: how long `save` took, seconds.
        result: the outcome, when it is known already, as after a synchronous save.
    """

    step: int
    stall_s: float
    result: SaveResult | None = None
