"""The reference page of site check, from the registry of faults."""

from slurmkit.sitecheck import report
from slurmkit.sitecheck.registry import FAULTS, Fault

__all__ = ["markdown", "report"]  # report registers every fault

_INTRO = """# Faults that site check finds

Each row is a fault that [`slurmkit site check`](../how-to/site-check.md) names by file and line,
with its code in brackets. An error means that Slurm does not start, does not do what the files say,
or loses jobs or nodes by it; a warning, that it does what they say, and that this is seldom what
was meant. Keywords, plugins and values are known for every release from 22.05 to 26.05.

What is wrong inside site.yaml and install.yaml themselves has the codes of every
[YAML file](site-yaml.md), such as `unknown-key`.
"""


def markdown() -> str:
    """Return the page: a table for each group, in the order of their names."""
    groups: dict[str, list[Fault]] = {}
    for fault in FAULTS.values():
        groups.setdefault(fault.group, []).append(fault)
    parts = [_INTRO]
    for group, faults in sorted(groups.items()):
        parts.append(f"## {group}\n")
        parts.append("| code | | what is wrong | what to do |\n|---|---|---|---|")
        parts += [_row(fault) for fault in sorted(faults, key=lambda fault: fault.code)]
        parts.append("")
    return "\n".join(parts)


def _row(fault: Fault) -> str:
    kind = "warning" if fault.warning else "error"
    return f"| `{fault.code}` | {kind} | {_cell(fault.what)} | {_cell(fault.fix)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
