"""Ledgers of runs that were never run: a simulation that knows where each second went."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from slurmkit.rundir.ledger import Record


@dataclass
class Simulation:
    """Writes the records of a run and keeps the truth about its time.

    Attributes:
        now: the clock.
        truth: seconds by class.
    """

    step_s: float = 1.0
    every: int = 10
    stall_s: float = 0.5
    save_s: float = 2.0
    now: float = 1_800_000_000.0
    records: list[Record] = field(default_factory=list)
    truth: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("productive", "checkpoint", "lost", "restart", "queued"), 0.0
        )
    )
    attempt: int = 0
    life: int = 0
    committed: int | None = None
    begin: float = 0.0
    nodes: str = "n[1-2]"

    def note(self, event: str, *, at: float | None = None, **fields: Any) -> None:
        """Write a record."""
        name = f"{100 + self.life}.0.abcd"
        time = self.now if at is None else at
        seq = len(self.records) + 1
        self.records.append(Record(seq, time, event, self.attempt, name, fields))

    def spend(self, kind: str, seconds: float) -> None:
        """Let time pass."""
        self.truth[kind] += seconds
        self.now += seconds

    def new_life(self, queued_s: float = 0.0) -> None:
        """Another job takes the run over."""
        if self.records:
            self.spend("queued", queued_s)
        else:
            self.begin = self.now
        self.life += 1
        self.note("incarnation_started", job_id=str(100 + self.life), nodes="n[1-3]", host="n1")
        self.spend("restart", 1.0)

    def start(self, startup_s: float = 5.0) -> None:
        """Launch an attempt and let it come to its first step."""
        self.attempt += 1
        self.note("attempt_started", job_id=str(100 + self.life), nodes=self.nodes, host="n1")
        self.spend("restart", startup_s)
        self.note("first_step", step=self.committed or 0, restored=self.committed)

    def train(self, steps: int, *, kept: int | None = None) -> None:
        """Make steps and commit on schedule; those after ``kept`` will have been in vain."""
        done = self.committed or 0
        last_told = self.now
        for step in range(done + 1, done + steps + 1):
            self.spend("lost" if kept is not None and step > kept else "productive", self.step_s)
            if self.now - last_told >= 10:
                self.note("progress", step=step, epoch=0)
                last_told = self.now
            if step % self.every == 0 and (kept is None or step <= kept):
                self.spend("checkpoint", self.stall_s)
                # Asynchronous: it counts some time after the training went on.
                self.note(
                    "checkpoint_committed",
                    at=self.now - self.stall_s + self.save_s,
                    step=step,
                    size_bytes=10**9,
                    save_s=self.save_s,
                    stall_s=self.stall_s,
                )
                self.committed = step
        self.note("progress", step=done + steps, epoch=0)

    def fail(self, kind: str = "node", host: str = "n2") -> None:
        """End the attempt badly."""
        if kind == "node":
            self.note("node_lost", host=host, silent_s=3.0, why="no sign of life")
        elif kind == "hang":
            self.note("hang", silent_s=61.0, limit_s=60.0, ranks=[3], stacks=[])
        self.note("attempt_ended", exit_code=137, state="failed", reason=f"{kind} failure")
        self.note(
            "failure", kind=kind, key="", host=host, reason=f"{kind} failure", step=self.committed
        )

    def decide(self, action: str, restarts_left: int = 4) -> None:
        """Write a decision."""
        self.note(
            "decision",
            action=action,
            reason=f"because of {action}",
            nodes=["n1", "n3"],
            excluded=["n2"],
            restarts_left=restarts_left,
        )

    def complete(self) -> None:
        """End the run well."""
        self.note("attempt_ended", exit_code=0, state="completed", reason="")
        self.decide("done")
        self.note("run_completed")

    def sorted(self) -> Sequence[Record]:
        """Return the records as a ledger has them: in the order of their times."""
        ordered = sorted(self.records, key=lambda record: (record.time, record.seq))
        return [
            Record(seq, r.time, r.event, r.attempt, r.incarnation, r.fields)
            for seq, r in enumerate(ordered, start=1)
        ]


@pytest.fixture(scope="session")
def simulation() -> type[Simulation]:
    return Simulation
