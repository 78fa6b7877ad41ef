"""Which committed steps may go; pure."""

from collections.abc import Collection


def removable(steps: Collection[int], keep: int, *, verified: int | None = None) -> list[int]:
    """Return the committed steps that retention lets go, the oldest first.

    Args:
        steps: all committed steps.
        keep: how many of the newest stay, at least 1.
        verified: the newest step that was read back and found whole; it stays, because those
            that came after it were never read.

    Raises:
        ValueError: `keep` is less than 1.
    """
    if keep < 1:
        raise ValueError(f"at least one step has to be kept, not {keep}")
    return [step for step in sorted(steps)[:-keep] if step != verified]
