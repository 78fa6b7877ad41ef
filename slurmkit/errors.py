"""Every error a user can meet: what is wrong, where, and what to do about it."""

# Exit codes of every slurmkit command; docs/reference/exit-codes.md explains them.

from slurmkit.record import Record

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SLURM_UNREACHABLE = 3
EXIT_REFUSED = 4
#: A training program saved and stopped because it was told to (EX_TEMPFAIL, sysexits.h).
EXIT_STOPPED = 75


class Location(Record):
    """A place in a file that a person wrote; line and column count from 1.

    Line 0 stands for a place that has no lines, such as ``--set resources.nodes=4``.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Problem(Record):
    """One thing that is wrong with the input.

    Attributes:
        message: what is wrong and what was expected, in one sentence.
        key: the dotted key it concerns, such as ``resources.nodes``; empty for none.
        where: the place in the file, or None when it came from the command line or the cluster.
        hint: what to do, in one sentence; empty for none.
        code: a short stable name for programs, such as ``unknown-key``.
        warning: True when the job can run all the same.
    """

    message: str
    key: str = ""
    where: Location | None = None
    hint: str = ""
    code: str = "invalid"
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        key = f"{self.key}: " if self.key else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{place}{key}{self.message}{hint}"


class SlurmkitError(Exception):
    """Base of all errors that slurmkit raises on purpose.

    Args:
        message: what went wrong, with host, rank, file or job id where there is one.
        hint: what the user can do about it.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n    {self.hint}" if self.hint else self.message


class UsageError(SlurmkitError):
    """The command or its arguments make no sense."""

    exit_code = EXIT_USAGE


class InvalidInputError(SlurmkitError):
    """A file that a person wrote is wrong; carries every problem found, not only the first."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SlurmError(SlurmkitError):
    """A Slurm program or library call failed; the message carries what Slurm said."""


class SlurmUnreachableError(SlurmError):
    """There is no Slurm here, or its controller does not answer."""

    exit_code = EXIT_SLURM_UNREACHABLE


class RefusedError(SlurmkitError):
    """A policy of the site or of Slurm refuses the request."""

    exit_code = EXIT_REFUSED


class RunNotFoundError(SlurmkitError):
    """No run with that name, id, job id or folder."""

    exit_code = EXIT_USAGE
