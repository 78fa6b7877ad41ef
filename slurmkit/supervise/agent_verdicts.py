"""Verdicts of a preflight as they travel: made on the node, read by the supervisor."""

from slurmkit.health.verdict import Verdict, from_fields

_MOST = 200


def read_verdicts(value: object) -> tuple[Verdict, ...]:
    """Return the verdicts of a message; what is none is left out."""
    if not isinstance(value, list):
        return ()
    found = []
    for item in value[:_MOST]:
        if isinstance(item, dict) and "check" in item and "verdict" in item:
            found.append(from_fields(item))
    return tuple(found)
