"""What the supervisor tells people, on the job's standard error."""

import contextlib
import sys


def say(message: str) -> None:
    """Write one line; a log that cannot be written must not end a run that computes."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"slurmkit: {message}\n")
        sys.stderr.flush()
