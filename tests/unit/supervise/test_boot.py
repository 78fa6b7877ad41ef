"""What a new life of a job learns from the ledger and from claims in the run directory."""

import json
from pathlib import Path
from typing import Any

from slurmkit.rundir.layout import ElementDir
from slurmkit.rundir.ledger import Record
from slurmkit.supervise.boot import (
    after_hand_over,
    claims,
    inherited,
    initial_state,
    past_of,
    requeued_path,
    successor_of,
)
from slurmkit.supervise.policy_values import Rules


def _records(*events: tuple[str, dict[str, Any]], incarnation: str = "7.0.aa") -> list[Record]:
    return [
        Record(number, 1000.0 + 10 * number, event, 1, incarnation, fields)
        for number, (event, fields) in enumerate(events, start=1)
    ]


BUG = ("failure", {"kind": "application", "key": "ValueError at a.py:3", "host": ""})
AGAIN = ("decision", {"action": "relaunch", "restarts": 1, "application_restarts": 1})


def test_an_empty_ledger_is_a_fresh_start() -> None:
    past = past_of([])
    state = initial_state(Rules(), past)
    assert (state.restarts, state.committed, state.excluded) == (0, None, ())
    assert past.mean_time_between_failures_s is None


def test_the_budget_and_the_keys_outlive_the_job() -> None:
    past = past_of(_records(BUG, AGAIN))
    assert (past.restarts, past.application_restarts) == (1, 1)
    assert past.keys == ("ValueError at a.py:3",)


def test_a_commit_refills_the_budget() -> None:
    past = past_of(_records(BUG, AGAIN, ("checkpoint_committed", {"step": 40})))
    assert (past.restarts, past.application_restarts, past.keys) == (0, 0, ())
    assert (past.committed, past.tracked) == (40, True)


def test_nodes_stay_excluded_and_may_be_forgiven() -> None:
    past = past_of(_records(("node_excluded", {"host": "n2", "reason": "silent"})))
    state = initial_state(Rules(), past)
    assert (state.excluded, state.forgivable) == ((("n2", "silent"),), frozenset({"n2"}))


def test_the_mean_time_between_failures() -> None:
    node = ("failure", {"kind": "node", "key": "", "host": "n2"})
    run = [("attempt_started", {}), ("attempt_ended", {"state": "failed"})]
    past = past_of(_records(*run, node, *run, node, BUG))
    assert past.mean_time_between_failures_s == 10.0  # two attempts of 10 s, two breaks; no bug


def test_a_job_that_handed_over_is_told_so() -> None:
    past = past_of(_records(("successor_submitted", {"job_id": "9", "exclude": []})))
    element = ElementDir(Path("/nonexistent"))
    assert successor_of("7", past, element) == "9"
    assert successor_of("9", past, element) == ""
    assert successor_of("8", past, element) == ""  # somebody submitted the script by hand


def _claim(tmp_path: Path, incarnation: str, **values: str) -> ElementDir:
    (tmp_path / "control").mkdir(exist_ok=True)
    path = tmp_path / "control" / f"successor-{incarnation}.json"
    path.write_text(json.dumps(values))
    return ElementDir(tmp_path)


def test_a_claim_that_is_not_finished_says_nothing(tmp_path: Path) -> None:
    element = _claim(tmp_path, "7.0.aa", host="n2")
    assert claims(element) == {}
    (tmp_path / "control" / "successor-8.0.bb.json").write_text("")
    assert claims(element) == {}


def test_an_agent_may_have_submitted_the_successor(tmp_path: Path) -> None:
    element = _claim(tmp_path, "7.0.aa", host="n2", job_id="9")
    past = past_of(_records(("incarnation_started", {"host": "n1"})))
    assert successor_of("7", past, element) == "9"
    handed = inherited("9", past, element)
    assert handed is not None
    assert (handed.former, handed.host) == ("7", "n1")
    after = after_hand_over(past, handed)
    assert (after.restarts, after.excluded) == (1, (("n1", handed.reason),))
    assert inherited("7", past, element) is None  # the old job itself, started again
    assert inherited("10", past, element) is None  # somebody's own start


def test_an_agent_may_have_requeued_the_job(tmp_path: Path) -> None:
    past = past_of(_records(("incarnation_started", {"host": "n1"})))
    element = ElementDir(tmp_path)
    assert inherited("7", past, element) is None  # Slurm, or a person, did
    (tmp_path / "control").mkdir()
    requeued_path(element, "7.0.aa").touch()
    handed = inherited("7", past, element)
    assert handed is not None
    assert (handed.way, handed.host) == ("requeue", "n1")


def test_a_hand_over_in_the_ledger_is_not_inherited_again(tmp_path: Path) -> None:
    element = _claim(tmp_path, "7.0.aa", job_id="9")
    past = past_of(_records(("successor_submitted", {"job_id": "9"})))
    assert inherited("9", past, element) is None
    assert after_hand_over(past, None) == past
