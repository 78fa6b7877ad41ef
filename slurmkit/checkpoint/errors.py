"""What can go wrong with a checkpoint, as errors that say which file, which rank and what to do."""

import errno

from slurmkit.errors import SlurmkitError

# What a full file system, a full quota and a process's own file size limit answer.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CheckpointError(SlurmkitError):
    """Base of all errors about checkpoints."""


class SaveFailedError(CheckpointError):
    """This save came to nothing; the steps that were committed before are untouched."""


class NoSpaceError(SaveFailedError):
    """The file system or a quota is full: the save failed, and the job can go on."""


class CorruptCheckpointError(CheckpointError):
    """What lies on disk is not what was written.

    Attributes:
        step: the step that cannot be trusted.
        file: the file that is wrong, inside the folder of the step; empty for the folder itself.
    """

    def __init__(self, message: str, *, step: int = -1, file: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.step = step
        self.file = file


class UnknownFormatError(CheckpointError):
    """The checkpoint was written in a format that this release does not know."""


def save_error(what: str, error: OSError) -> SaveFailedError:
    """Return the error for a save that the operating system refused, with the reason it gave."""
    message = f"{what}: {error.strerror or error}"
    if error.errno in NO_SPACE:
        return NoSpaceError(
            message,
            hint="free space or raise the quota; the last committed step is untouched",
        )
    return SaveFailedError(message)
