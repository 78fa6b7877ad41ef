"""What can go wrong in a training program, as errors that say what to do."""

from slurmkit.errors import SlurmkitError


class TrainError(SlurmkitError):
    """The session, the loader or the state cannot do what was asked."""


class ResumeError(TrainError):
    """A checkpoint is sound, but it does not belong to this program, data or number of ranks."""
