"""Print what a run did after one of its nodes was killed, from its ledger."""

import sys
from pathlib import Path

from slurmkit.rundir.ledger import Record, read_ledger


def main(run_dir: Path, killed: float, victim: str) -> None:
    """Print one line per thing that happened, with the seconds since the node was killed."""
    records = [r for r in read_ledger(run_dir / "ledger.jsonl") if r.time > killed]
    committed = first(records, "checkpoint_committed", after="first_step")
    rows = [(killed, f"{victim} loses power; to Slurm it looks well for another 30 s")]
    if lost := first(records, "node_lost"):
        rows.append((lost.time, f"noticed: {lost.fields['why']}"))
    if decision := first(records, "decision"):
        rows.append((decision.time, f"decided: {decision.fields['reason']}"))
    if started := first(records, "step_started"):
        nodes = first(records, "attempt_started")
        where = " and ".join(nodes.fields["step_nodes"]) if nodes else "other nodes"
        rows.append((started.time, f"launched again, on {where}"))
    if step := first(records, "first_step"):
        restored = step.fields["restored"]
        rows.append(
            (step.time, f"first new step, {step.fields['step']}; restored: step {restored}")
        )
    if committed:
        rows.append((committed.time, f"first new checkpoint: step {committed.fields['step']}"))
    if done := first(records, "run_completed"):
        rows.append((done.time, "the run is complete"))
    for when, text in rows:
        print(f"{when - killed:7.1f} s  {text}")


def first(records: list[Record], event: str, after: str = "") -> Record | None:
    """Return the first record of an event, behind the first of another one."""
    seen = not after
    for record in records:
        if seen and record.event == event:
            return record
        seen = seen or record.event == after
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
