"""The reference page's table of checks, from the checks themselves."""

from slurmkit.check.engine import GROUPS
from slurmkit.check.registry import Check


def markdown() -> str:
    """Return a table for each group: the code, its severity, what is compared, an example."""
    parts = []
    for title, checks in GROUPS:
        parts.append(f"### {_heading(title)}\n")
        parts.append("| code | | what is compared | example |\n|---|---|---|---|")
        parts += [_row(check) for check in checks]
        parts.append("")
    return "\n".join(parts)


def _heading(title: str) -> str:
    """Return ``The partition itself`` for ``Checks of the partition itself: does it …``."""
    words = title.rstrip(".").removeprefix("Checks of ").removeprefix("Checks against ")
    head = words.partition(":")[0]
    return head[0].upper() + head[1:]


def _row(check: Check) -> str:
    about = check.about
    kind = "warning" if about.warning else "error"
    offline = "" if check.needs_cluster else ", also offline"
    cells = (f"`{about.id}`", f"{kind}{offline}", _cell(about.compares), _cell(about.example))
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
