"""What is wrong with a description of a fabric, and where."""

from slurmkit.errors import Location, UsageError


class FabricError(UsageError):
    """A file about switches cannot be read, or what it says makes no topology."""

    def __init__(self, message: str, where: Location | None = None, *, hint: str = "") -> None:
        super().__init__(f"{where}: {message}" if where and where.file else message, hint=hint)
        self.where = where
