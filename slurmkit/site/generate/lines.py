"""Lines of slurm.conf: what each is about, and further ones in place of others. Pure."""

from collections.abc import Iterable, Sequence

#: slurm.conf(5): these may stand several times.
_REPEATABLE = frozenset({"slurmctldhost", "nodename", "partitionname", "nodeset", "downnodes"})


def key_of(line: str) -> str:
    """Return the keyword of a line in lower case; empty for a comment."""
    words = line.partition("#")[0]
    return words.partition("=")[0].strip().lower() if "=" in words else ""


def joined(lines: Iterable[str], further: Sequence[str]) -> list[str]:
    """Return lines and further ones; what these replace goes, with its comment.

    Every program of Slurm complains about a keyword that stands twice.
    """
    replaced = {key_of(line) for line in further} - _REPEATABLE - {""}
    kept: list[str] = []
    for line in lines:
        if key_of(line) in replaced:
            # The reason for what no longer holds.
            while kept and kept[-1].startswith("# ") and not kept[-1].startswith("# --"):
                kept.pop()
            continue
        kept.append(line)
    return [*kept, *further]
