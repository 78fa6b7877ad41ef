"""How a run went, in a few sentences."""

from slurmkit.observe import words
from slurmkit.observe.attempts import History
from slurmkit.observe.report import ElementReport

#: What the kinds of failures are called.
KINDS = {
    "application": "failure of the program",
    "transient": "passing failure",
    "node": "lost node",
    "memory": "lack of memory",
    "hang": "hang",
}
_PLURALS = {"failure": "failures", "node": "nodes", "hang": "hangs"}
STATES = {
    "waiting": "waits to go on",
    "running": "is running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "was cancelled",
    "timeout": "ran out of time",
    "preempted": "was pushed aside",
    "requeued": "waits to be started again",
    "stopped": "stopped when it was asked to",
}


def summarise(history: History, report: ElementReport) -> str:
    """Return what became of an element, and where its time went."""
    if not history.attempts:
        return "It has not started yet."
    what = STATES.get(report.state, f"ended as {report.state}")
    at = f" at step {report.step}" if report.step is not None else ""
    text = f"It {what}{at}{_after(report)}."
    if (reason := _reason(history)) and report.state not in ("completed", "running"):
        text += f" {words.sentence(reason)}"
    wall_s = report.time.wall_s
    if wall_s:
        time = report.time
        parts = [f"{words.share(time.productive_s, wall_s)} were productive"]
        for seconds, what in (
            (time.checkpoint_s, "went into checkpoints"),
            (time.lost_s, "were lost"),
            (time.restart_s, "went into starting"),
            (time.queued_s, "into waiting for nodes"),
        ):
            if seconds >= 0.0005 * wall_s:
                parts.append(f"{words.share(seconds, wall_s)} {what}")
        text += f" Of {words.span(wall_s)}, {words.listing(parts)}."
    return text


def _after(report: ElementReport) -> str:
    total = sum(report.failures.values())
    if not total:
        return "" if not report.restarts else f" after {words.count(report.restarts, 'restart')}"
    kinds = [_kinds(kind, number) for kind, number in sorted(report.failures.items())]
    return f" after {words.listing(kinds)}"


def _kinds(kind: str, number: int) -> str:
    name = KINDS.get(kind, f"failure of kind {kind}")
    if number == 1:
        return f"a {name}"
    first, *rest = name.split(" ")
    plural = [_PLURALS.get(word, word) for word in (first, *rest)]
    return f"{number} {' '.join(plural)}"


def _reason(history: History) -> str:
    decisions = [record for record in history.records if record.event == "decision"]
    if decisions:
        return str(decisions[-1].fields.get("reason", ""))
    ends = [record for record in history.records if record.event == "attempt_ended"]
    return str(ends[-1].fields.get("reason", "")).partition("\n")[0] if ends else ""
