"""The table of checks for the reference page."""

from slurmkit.health.registry import all_checks


def markdown() -> str:
    """Return one row per check."""
    rows = ["| check | reads | limits | when it fails | level |", "|---|---|---|---|---|"]
    for check in all_checks():
        cells = (f"`{check.id}`", check.reads, check.limits, check.action, check.level)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
