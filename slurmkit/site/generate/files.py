"""What generation returns: a file as a value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One generated file.

    Attributes:
        text: its content.
        mode: its permissions: 0o755 for what is executed, otherwise 0o644 unless it is private.
        owner: the user whose it is on a machine.
    """

    text: str
    mode: int = 0o644
    owner: str = "root"
