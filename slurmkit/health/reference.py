"""The reference of the checks: a table of all, and a page for each."""

from importlib import import_module

from slurmkit.health.check import FULL, Check
from slurmkit.health.registry import all_checks
from slurmkit.health.verdict import DRAIN, EVICT, NOTE, REFUSE

_FOLLOWS = {
    NOTE: "it is written down, and nothing else",
    REFUSE: "no job starts on the node while it fails",
    DRAIN: "no job starts on the node, and it is drained",
    EVICT: "the node is drained, and the jobs on it go on elsewhere",
}
_LEVELS = {
    True: "full: by the health program, now and then; not before each job",
    False: "quick: by the health program, by the prolog and in a job's preflight",
}


def markdown() -> str:
    """Return a row per check, each with a link to its page."""
    rows = ["| check | reads | limits | when it fails | level |", "|---|---|---|---|---|"]
    for check in all_checks():
        link = f"[`{check.id}`](checks-of-nodes/{check.id}.md)"
        cells = (link, check.reads, check.limits, check.action, check.level)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def pages() -> dict[str, str]:
    """Return the page of each check, by its id."""
    return {check.id: _page(check) for check in all_checks()}


def _page(check: Check) -> str:
    module = import_module(f"slurmkit.health.checks.{check.id.replace('-', '_')}")
    question = (module.__doc__ or "").strip()
    lines = [
        f"# {check.id}\n",
        f"{question}\n",
        "| | |",
        "|---|---|",
        f"| reads | {check.reads} |",
        f"| limits | {check.limits} |",
        f"| when it fails | `{check.action}`: {_FOLLOWS[check.action]} |",
        f"| done | {_LEVELS[check.level == FULL]} |",
    ]
    if check.blocking:
        lines.append(f"| ended after | {check.timeout_s:g} s, in a process of its own |")
    lines.append("")
    if check.thresholds:
        lines += ["## Thresholds\n", "| name | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `{item.name}` | {item.value:g} | {item.meaning} |" for item in check.thresholds
        ]
        lines.append("")
    lines += [
        "## What to do\n",
        f"{check.advice}\n",
        "## In site.yaml\n",
        "```yaml",
        "health:",
        "  checks:",
        f"    {check.id}:",
        f"      action: {check.action}  # or off, note, refuse, drain, evict",
    ]
    if check.thresholds:
        first = check.thresholds[0]
        lines.append(f"      thresholds: {{{first.name}: {first.value:g}}}")
    lines += ["```\n", "All checks: [Health checks](../health-checks.md)."]
    return "\n".join(lines) + "\n"
