"""How reports, stories and checkpoints are shown to a person."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slurmkit.cli.output import dim, echo, table
from slurmkit.errors import UsageError
from slurmkit.observe import words

if TYPE_CHECKING:
    from slurmkit.api import (
        CheckpointList,
        CheckpointVerdict,
        PrunedCheckpoints,
        RunReport,
        Story,
    )
    from slurmkit.observe.report import ElementReport, TimeSplit

_PARTS = {
    "productive": "steps whose result was kept",
    "checkpoint": "waiting for a save",
    "lost": "steps made in vain",
    "restart": "from a start, or the end before it, to the first step",
    "queued": "between two jobs",
}


def print_report(report: "RunReport") -> None:
    """Print where the time of a run went."""
    echo(f"{report.name}/{report.run_id}")
    elements = report.elements
    if len(elements) > 1:
        echo(f"{len(elements)} elements; times are sums over all of them")
    echo()
    _print_time(report.time)
    echo()
    if len(elements) == 1:
        _print_element(elements[0])
        return
    rows = [
        [
            "-" if item.task is None else str(item.task),
            item.state,
            words.span(item.time.wall_s),
            words.share(item.time.productive_s, item.time.wall_s),
            str(item.restarts),
            "" if item.step is None else str(item.step),
            "" if item.committed_step is None else str(item.committed_step),
        ]
        for item in elements
    ]
    header = ["TASK", "STATE", "WALL", "PRODUCTIVE", "RESTARTS", "STEP", "COMMITTED"]
    for line in table(header, rows):
        echo(line)


def _print_time(time: "TimeSplit") -> None:
    rows = [
        [
            kind,
            words.span(getattr(time, f"{kind}_s")),
            words.share(getattr(time, f"{kind}_s"), time.wall_s),
            meaning,
        ]
        for kind, meaning in _PARTS.items()
    ]
    rows.append(["wall", words.span(time.wall_s), "", ""])
    for line in table(["TIME", "", "", ""], rows):
        echo(line)


def _print_element(item: "ElementReport") -> None:
    failures = ", ".join(f"{number} {kind}" for kind, number in sorted(item.failures.items()))
    saves = item.saves
    rows = [
        ("state", item.state),
        ("jobs", ", ".join(item.jobs)),
        ("attempts", str(item.attempts)),
        ("failures", failures or "none"),
        ("step", _known(item.step)),
        ("committed", _known(item.committed_step)),
        ("lost steps", str(item.lost_steps or "")),
        ("saves", _saves(saves.committed, saves.failed, saves.quarantined)),
        ("save", words.span(saves.mean_save_s) if saves.mean_save_s is not None else ""),
        ("stall", words.span(saves.mean_stall_s) if saves.mean_stall_s is not None else ""),
        ("excluded", ", ".join(item.excluded)),
        ("ETTR", f"{item.ettr:.3f}" if item.ettr is not None else ""),
        ("MTTR", words.span(item.mttr_s) if item.mttr_s is not None else ""),
        ("MTBF", words.span(item.mtbf_s) if item.mtbf_s is not None else ""),
    ]
    for name, value in rows:
        if value:
            echo(f"{name:10} {value}")
    if not item.tracked and item.attempts:
        echo(dim("the program tells of no steps: attempts that failed count as lost"))


def _known(number: int | None) -> str:
    return "" if number is None else str(number)


def _saves(committed: int, failed: int, quarantined: int) -> str:
    parts = [f"{committed} committed"] if committed else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{quarantined} put aside"] if quarantined else []
    return ", ".join(parts)


def print_story(story: "Story", task: int | None = None) -> None:
    """Print what happened to a run, or to one element of an array.

    Raises:
        UsageError: the array has no such element.
    """
    chosen = [item for item in story.elements if task is None or item.task == task]
    if not chosen:
        raise UsageError(f"{story.name}/{story.run_id} has no element {task}")
    echo(f"{story.name}/{story.run_id}")
    for item in chosen:
        head = "" if item.task is None else f"Element {item.task}: "
        echo(f"\n{head}{item.summary}")
        day = ""
        for event in item.events:
            date, _, clock = words.moment(event.time).partition(" ")
            if date != day:
                echo(f"\n{date}")
                day = date
            echo(f"  {clock}  {event.text}")


def print_checkpoints(found: Sequence["CheckpointList"]) -> None:
    """Print the checkpoints of each folder."""
    for position, item in enumerate(found):
        if position:
            echo()
        echo(_headline(item.folder, item.task))
        rows = [
            [
                str(step.step),
                words.moment(step.time) if step.time else "",
                words.size(step.size_bytes),
                words.span(step.save_s),
                str(step.attempt or ""),
                str(step.world_size) if step.world_size else "damaged manifest",
            ]
            for step in item.steps
        ]
        for line in table(["STEP", "COMMITTED", "SIZE", "SAVE", "ATTEMPT", "RANKS"], rows):
            echo(line)
        for damaged in item.quarantined:
            echo(f"put aside: step {damaged.step}: {damaged.why}  ({damaged.path})")


def _headline(folder: str, task: int | None) -> str:
    return folder if task is None else f"element {task}: {folder}"


def print_verdicts(verdicts: Sequence["CheckpointVerdict"]) -> None:
    """Print which checkpoints are whole."""
    if not verdicts:
        echo("there are no checkpoints")
    for item in verdicts:
        if item.ok:
            echo(f"step {item.step}: ok, {words.size(item.size_bytes)} in {item.folder}")
        else:
            echo(f"step {item.step}: DAMAGED: {item.problem}")


def print_pruned(found: Sequence["PrunedCheckpoints"], *, dry_run: bool) -> None:
    """Print what was removed."""
    for item in found:
        what = "would remove" if dry_run else "removed"
        steps = words.listing([str(step) for step in item.removed]) if item.removed else "nothing"
        kept = words.listing([str(step) for step in item.kept]) if item.kept else "nothing"
        echo(f"{_headline(item.folder, item.task)}")
        echo(f"  {what} {steps} ({words.size(item.freed_bytes)}); kept {kept}")
