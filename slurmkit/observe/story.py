"""What happened to a run and why it was decided so, in plain words, from its ledger alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from slurmkit.observe.attempts import read_history
from slurmkit.observe.report import report_element
from slurmkit.observe.summary import summarise
from slurmkit.observe.telling import Event, Teller
from slurmkit.rundir.layout import RunDir
from slurmkit.rundir.ledger import Record, read_ledger


@dataclass(frozen=True)
class ElementStory:
    """One element of an array, or the only one of an ordinary run.

    Attributes:
        task: array index; None for an ordinary run.
        summary: how it went, in a few sentences.
        events: what happened, in order.
    """

    task: int | None
    summary: str
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class Story:
    """A run with the stories of its elements."""

    name: str
    run_id: str
    run_dir: str
    elements: list[ElementStory] = field(default_factory=list)


def explain_run(run: RunDir) -> Story:
    """Return what happened to a run and why.

    Raises:
        LedgerError: a ledger is damaged.
    """
    elements = [
        explain_element(read_ledger(element.ledger_path), task)
        for task, element in run.elements().items()
    ]
    return Story(run.name, run.run_id, str(run.path), elements)


def explain_element(records: Sequence[Record], task: int | None = None) -> ElementStory:
    """Return the story of one element from the records of its ledger."""
    history = read_history(records)
    report = report_element(records, task)
    return ElementStory(task, summarise(history, report), list(Teller(history).events()))
