"""Every kind of record is told in a sentence, and nothing twice."""

from typing import Any

import pytest

from slurmkit.observe import words
from slurmkit.observe.story import explain_element

_STACKS = "logs/attempt-1/stacks"


def _told(run: Any) -> list[str]:
    return [event.text for event in explain_element(run.sorted()).events]


@pytest.mark.parametrize(
    ("event", "fields", "sentence"),
    [
        (
            "hang",
            {
                "silent_s": 61.0,
                "limit_s": 60.0,
                "ranks": [0, 3],
                "stacks": ["logs/attempt-1/stacks"],
            },
            "Ranks 0 and 3 made no progress for 1 min 1 s, where 1 min are allowed: a hang. The"
            " Python stacks of all ranks are in logs/attempt-1/stacks.",
        ),
        (
            "checkpoint_failed",
            {"step": 40, "error": "no space left\nin detail"},
            "The save of step 40 failed, and the training went on without it: no space left.",
        ),
        (
            "checkpoint_quarantined",
            {"step": 30, "why": "the digest of rank-00001.bin is wrong"},
            "The checkpoint of step 30 was damaged and was put aside: the digest of rank-00001.bin"
            " is wrong.",
        ),
        (
            "warned",
            {"why": "the time limit", "deadline": 1_800_000_126.0},
            "The program was told to save and stop because of the time limit, with 2 min left.",
        ),
        (
            "task_exited",
            {"rank": 3, "host": "n2", "exit_code": 1, "reason": "ValueError: boom (train.py:9)"},
            "Rank 3 on n2 ended with exit code 1: ValueError: boom (train.py:9).",
        ),
        (
            "task_exited",
            {"rank": 1, "host": "n1", "signal": "SIGSEGV"},
            "Rank 1 on n1 was ended by SIGSEGV.",
        ),
        (
            "node_unfit",
            {"host": "n2", "why": "gpu-xid: Xid 79 on 0000:1b:00 (fallen off the bus)"},
            "The site's health program wants no job on n2: gpu-xid: Xid 79 on 0000:1b:00 (fallen"
            " off the bus).",
        ),
        (
            "stuck",
            {"host": "n2", "why": "Slurm's PMIx on n2 could not reach another node"},
            "The program could not go on and did not end: Slurm's PMIx on n2 could not reach"
            " another node.",
        ),
        (
            "preflight",
            {"host": "n3", "verdicts": [{"check": "disk", "verdict": "fail", "detail": "full"}]},
            "Node n3 did not pass the check before the start: disk (full).",
        ),
        (
            "failure",
            {"kind": "memory", "host": "n1", "reason": "rank 0 ran out of memory"},
            "Attempt 1 ended with a lack of memory: rank 0 ran out of memory.",
        ),
        (
            "decision",
            {"action": "stop", "reason": "the same failure again", "restarts_left": 3},
            "It was given up: the same failure again.",
        ),
        (
            "decision",
            {"action": "requeue", "reason": "n1 is silent", "restarts_left": 1},
            "Slurm was to start the job again: n1 is silent. 1 more restart without a new"
            " checkpoint is allowed.",
        ),
        ("requeued", {}, "Slurm was asked to start the job again."),
        (
            "successor_submitted",
            {"job_id": "19", "exclude": ["n2", "n3"]},
            "Job 19 was submitted to go on, without n[2-3].",
        ),
    ],
)
def test_sentences(simulation: Any, event: str, fields: dict[str, Any], sentence: str) -> None:
    run = simulation()
    run.new_life()
    run.start()
    run.note(event, **fields)
    assert _told(run)[-1] == sentence


def test_a_checkpoint_now_and_then_is_one_sentence(simulation: Any) -> None:
    run = simulation()
    run.new_life()
    run.start()
    run.train(45)
    texts = [text for text in _told(run) if "committed" in text]
    assert texts == [
        "4 checkpoints were committed, from step 10 to step 40; the last has 1.0 GB and took 2 s."
    ]


def test_only_the_first_rank_that_failed_is_told(simulation: Any) -> None:
    run = simulation()
    run.new_life()
    run.start()
    for rank in range(4):
        run.note("task_exited", rank=rank, host="n1", exit_code=1, consequence=rank > 0)
    assert len([text for text in _told(run) if text.startswith("Rank")]) == 1


def test_a_cause_is_told_once(simulation: Any) -> None:
    run = simulation()
    run.new_life()
    run.start()
    cause = "ConnectionError: it broke (train.py:9)"
    run.note("task_exited", rank=3, host="n2", exit_code=1, reason=f"{cause}\nand more")
    run.note("attempt_ended", exit_code=1, state="failed", reason=f"rank 3 on n2: {cause}")
    run.note("failure", kind="application", host="n2", reason=f"rank 3 on n2: {cause}")
    run.note(
        "decision", action="relaunch", nodes=["n1"], reason=f"rank 3 on n2: {cause}: once more"
    )
    assert _told(run)[-3:] == [
        f"Rank 3 on n2 ended with exit code 1: {cause}.",
        "Attempt 1 ended with a failure of the program.",
        "It was started again on n1: once more.",
    ]


def test_ranks_that_stop_as_they_were_told_are_no_failure(simulation: Any) -> None:
    run = simulation()
    run.new_life()
    run.start()
    run.train(10)
    run.note("warned", why="the time limit", deadline=run.now + 60)
    run.note("task_exited", rank=1, host="n2", exit_code=75, reason="last words")
    run.note("attempt_ended", exit_code=75, state="failed", reason="")
    run.note("failure", kind="stopped", reason="the ranks have saved and stopped")
    run.decide("successor")
    run.new_life()
    run.start()
    told = _told(run)
    assert "Attempt 1 stopped when it was asked to: the ranks have saved and stopped." in told
    assert not [text for text in told if "exit code" in text]
    assert told[-1] == "It went on from the checkpoint of step 10."


def test_an_event_of_a_later_release_is_passed_over(simulation: Any) -> None:
    run = simulation()
    run.new_life()
    run.note("something_new", field=1)
    assert len(_told(run)) == 1


def test_what_a_run_that_failed_says_first(simulation: Any) -> None:
    run = simulation()
    run.new_life()
    for _ in range(2):
        run.start()
        run.train(5)
        run.fail("application")
        run.decide("relaunch")
    run.note("decision", action="stop", reason="the same failure again, with no checkpoint")
    summary = explain_element(run.sorted()).summary
    assert summary.startswith(
        "It failed at step 5 after 2 failures of the program. The same failure again, with no"
        " checkpoint."
    )


def test_before_the_start(simulation: Any) -> None:
    assert explain_element([]).summary == "It has not started yet."
    assert _told(simulation()) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (3.0, "3 s"),
        (12.4, "12 s"),
        (61, "1 min 1 s"),
        (7200, "2 h"),
        (9e4, "1 d 1 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(17, "17 bytes"), (1500, "1.5 kB"), (2.5e11, "250 GB"), (3e12, "3.0 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert words.size(count) == text
