"""slurmkit's few words to the person who reads the log."""

import logging

_log = logging.getLogger("slurmkit.train")


def show_notices() -> None:
    """Show notices on stderr, unless the program has set up logging itself."""
    if _log.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("slurmkit: %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
