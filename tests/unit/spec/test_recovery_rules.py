"""checkpoint and resilience: their short forms, and combinations that make no sense."""

from pathlib import Path
from typing import Any

import pytest

from slurmkit.errors import InvalidInputError
from slurmkit.spec.loader import Job, load
from slurmkit.spec.values import every_text


def _load(folder: Path, text: str) -> Job:
    path = folder / "job.yaml"
    path.write_text(f"name: a\nlaunch: {{command: [hostname]}}\n{text}\n")
    return load(path)


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("checkpoint: true", "auto"),
        ("checkpoint: 10m", "10m"),
        ("checkpoint: 100 steps", "100 steps"),
        ("checkpoint: auto", "auto"),
        ("checkpoint: {}", "auto"),
        ("checkpoint: {every: 250}", 250),
    ],
)
def test_short_forms_of_checkpoint(tmp_path: Path, text: str, every: Any) -> None:
    checkpoint = _load(tmp_path, text).spec.checkpoint
    assert checkpoint is not None
    assert (checkpoint.every, checkpoint.keep) == (every, 3)


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        ("resilience: true", ["requeue"]),
        ("resilience: requeue", ["requeue"]),
        ("resilience: [successor, requeue]", ["successor", "requeue"]),
        ("resilience: {on_node_failure: shrink, then: [stop]}", ["shrink", "stop"]),
    ],
)
def test_short_forms_of_resilience(tmp_path: Path, text: str, actions: list[str]) -> None:
    resilience = _load(
        tmp_path, f"checkpoint: true\nresources: {{nodes: 2}}\n{text}"
    ).spec.resilience
    assert resilience is not None
    assert [resilience.on_node_failure, *resilience.then] == actions


@pytest.mark.parametrize("key", ["checkpoint", "resilience"])
def test_false_is_as_if_it_were_not_there(tmp_path: Path, key: str) -> None:
    assert getattr(_load(tmp_path, f"{key}: false").spec, key) is None


@pytest.mark.parametrize(
    ("every", "text"),
    [
        ("auto", "auto"),
        ("10m", "600s"),
        ("1h 30m", "5400s"),
        (100, "100"),
        ("100", "100"),
        ("100 steps", "100"),
        ("1 step", "1"),
        ("0:30", "30s"),
    ],
)
def test_every_has_one_form_in_the_environment(every: str | int, text: str) -> None:
    assert every_text(every) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checkpoint: sometimes", "'sometimes' is not a duration"),
        ("checkpoint: UNLIMITED", "'UNLIMITED' is never"),
        ("checkpoint: {every: 0}", "must be at least 1"),
        ("checkpoint: {levels: [nvme]}", "no copy would outlive the nodes"),
        ("checkpoint: {levels: [shared, nvme]}", "no copy would outlive the nodes"),
        ("checkpoint: {levels: [partner, shared]}", "do not build on each other"),
        ("checkpoint: {levels: [nvme, nvme, shared]}", "a level stands here twice"),
        ("resilience: spare", "there is no spare node to take over"),
        ("resilience: [stop, requeue]", "nothing comes after stop, so requeue is never tried"),
        (
            "resources: {nodes: 2}\nresilience: {on_node_failure: shrink, min_nodes: 3}",
            "the program runs on 2 nodes at most",
        ),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        _load(tmp_path, text)
    assert any(message in problem.message for problem in caught.value.problems), caught.value


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("resilience: requeue", "resilience", "every restart begins at the first step"),
        (
            "checkpoint: true\nresilience: {max_restarts: 0}",
            "resilience.max_restarts",
            "no restart is allowed",
        ),
        (
            "checkpoint: true\nresilience: {min_nodes: 1}",
            "resilience.min_nodes",
            "only shrink goes on with fewer nodes",
        ),
        (
            "checkpoint: true\nresilience: [shrink, requeue]",
            "resilience.on_node_failure",
            "shrink has nothing to give up: the program runs on 1 and needs 1",
        ),
        (
            "checkpoint: true\nresilience: [spare, requeue]",
            "resilience.on_node_failure",
            "there is no spare node to take over; requeue is tried",
        ),
        ("checkpoint: {keep: 1}", "checkpoint.keep", "there is none to fall back on"),
        ("checkpoint: {levels: [nvme, partner, shared]}", "checkpoint.levels", "has no partner"),
        (
            "checkpoint: true\nresilience: [requeue, requeue]",
            "resilience.then.0",
            "requeue stands here twice",
        ),
        ("resources: {spares: 1}", "resources.spares", "nothing uses the spare nodes"),
    ],
)
def test_warned_of(tmp_path: Path, text: str, key: str, message: str) -> None:
    warnings = _load(tmp_path, text).warnings
    found = [problem for problem in warnings if message in problem.message]
    assert [(problem.key, problem.warning) for problem in found] == [(key, True)], warnings


def test_mpirun_cannot_shrink(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: a\nresources: {nodes: 4}\nlaunch: {kind: mpi, launcher: mpirun, command: [./a]}\n"
        "checkpoint: true\nresilience: [shrink, requeue]\n"
    )
    (warning,) = load(path).warnings
    assert "mpirun takes all nodes of the job" in warning.message


def test_a_sound_plan_says_nothing(tmp_path: Path) -> None:
    job = _load(
        tmp_path,
        "resources: {nodes: 4, spares: 1}\n"
        "checkpoint: {every: 10m, levels: [nvme, partner, shared]}\n"
        "resilience: {on_node_failure: spare, then: [shrink, successor, requeue], min_nodes: 2}",
    )
    assert job.warnings == ()
