"""What Slurm says when it has given up on a step that does not end: its ranks wait for ever."""

import re
from dataclasses import dataclass

# Looked for first, as a job may write 50 MB/s.
_WORDS = b"exceeded the retry limit"
# Slurm's pmixp_utils.c; the host is the one that could not send. 22.05 says it after some 30 s.
_PMIX = re.compile(rb"mpi/pmix\w*: pmixp_p2p_send: (\S+) \[\d+\][^\n]*" + _WORDS)


@dataclass(frozen=True)
class GaveUp:
    """A step that cannot go on.

    Attributes:
        host: whose Slurm said so.
        why: in a sentence.
    """

    host: str
    why: str


def gave_up(output: bytes) -> GaveUp | None:
    """Return what lines of a step's output say of that; None for nothing."""
    if _WORDS not in output:
        return None
    found = _PMIX.search(output)
    if found is None:
        return None
    host = found[1].decode("utf-8", "replace")
    return GaveUp(host, f"Slurm's PMIx on {host} could not reach another node, and MPI needs that")
