"""What a job's checkpoints and recovery become in the plan, by launcher, site and form."""

from typing import Any

import pytest

from slurmkit.plan.model import Plan, Variable
from slurmkit.plan.planner import Context, make_plan
from slurmkit.site.models import Site
from slurmkit.spec.models import JobSpec


def _plan(job: dict[str, Any], site: dict[str, Any] | None = None, **context: Any) -> Plan:
    spec = JobSpec.model_validate({"name": "a", "launch": {"command": ["./a"]}, **job})
    return make_plan(
        spec, Site.model_validate(site or {}), None, Context("/base", "/runs", **context)
    )


def _directives(plan: Plan) -> dict[str, str | None]:
    return {line.option: line.value for line in plan.directives}


_ALL = ["spare", "shrink", "successor", "requeue"]


@pytest.mark.parametrize(
    ("actions", "allowed", "launcher", "left"),
    [
        (_ALL, None, "srun", _ALL),
        (_ALL, True, "srun", _ALL),
        (_ALL, False, "srun", ["spare", "shrink", "requeue"]),
        (["shrink", "successor", "requeue"], None, "mpirun", ["successor", "requeue"]),
        (["shrink", "requeue"], None, "torchrun", ["shrink", "requeue"]),
        (["successor"], False, "srun", ["stop"]),
        (["requeue", "requeue"], None, "srun", ["requeue"]),
    ],
)
def test_only_what_can_be_tried_here(
    actions: list[str], allowed: bool | None, launcher: str, left: list[str]
) -> None:
    kind = {"srun": "command", "mpirun": "mpi", "torchrun": "torch"}[launcher]
    plan = _plan(
        {
            "resources": {"nodes": 2, "spares": int(launcher == "srun")},
            "launch": {"kind": kind, "launcher": launcher, "command": ["./a"]},
            "resilience": actions,
        },
        {"sbatch_from_compute_nodes": allowed},
    )
    assert plan.recovery is not None
    assert list(plan.recovery.actions) == left
    left_out = [note for note in plan.notes if note.startswith("Left out")]
    assert len(left_out) == len(set(actions) - set(left))


@pytest.mark.parametrize(
    ("actions", "requeue", "survivors"),
    [
        (["requeue"], "--requeue", False),
        (["spare", "requeue"], "--requeue", True),
        (["spare", "stop"], "--no-requeue", True),
        (["successor"], "--requeue", True),
        (["requeue", "stop"], "--requeue", False),
        (["stop"], "--no-requeue", False),
    ],
)
def test_what_slurm_is_told(actions: list[str], requeue: str, survivors: bool) -> None:
    lines = _directives(_plan({"resources": {"nodes": 2, "spares": 1}, "resilience": actions}))
    assert requeue in lines
    assert {"--requeue": "--no-requeue", "--no-requeue": "--requeue"}[requeue] not in lines
    assert ("--no-kill" in lines) is survivors
    assert lines["--signal"] == "B:USR2@120"
    assert lines["--open-mode"] == "append"


@pytest.mark.parametrize(
    ("folder", "more", "word"),
    [
        ("ckpt", {}, ("ckpt",)),
        ("../shared/", {}, ("../shared",)),
        ("/data/a", {}, ("/data/a",)),
        ("~/a", {}, (Variable("HOME"), "/a")),
        ("ckpt", {"array": "0-3"}, ("ckpt",)),
        ("/data/a", {"array": "0-3"}, ("/data/a/", Variable("SLURM_ARRAY_TASK_ID"))),
        ("/data/a", {"sweep": {"lr": ["1"]}}, ("/data/a/", Variable("SLURM_ARRAY_TASK_ID"))),
    ],
)
def test_where_checkpoints_go(folder: str, more: dict[str, Any], word: Any) -> None:
    checkpoints = _plan({"checkpoint": {"dir": folder}, **more}).checkpoints
    assert checkpoints is not None
    assert checkpoints.dir == word


@pytest.mark.parametrize(
    ("levels", "site", "word"),
    [
        (["shared"], None, None),
        (["shared"], "/scratch", ("/scratch",)),
        (["nvme", "shared"], None, ("/tmp",)),
        (["nvme", "shared"], "$TMPDIR", (Variable("TMPDIR"),)),
        (
            ["nvme", "shared"],
            "/local/${USER}/$SLURM_JOB_ID/x",
            ("/local/", Variable("USER"), "/", Variable("SLURM_JOB_ID"), "/x"),
        ),
    ],
)
def test_where_the_node_local_level_is(levels: list[str], site: str | None, word: Any) -> None:
    checkpoints = _plan({"checkpoint": {"levels": levels}}, {"local_dir": site}).checkpoints
    assert checkpoints is not None
    assert checkpoints.local_dir == word


@pytest.mark.parametrize(
    ("hang", "text"), [("auto", "auto"), ("off", "off"), ("30m", "1800s"), ("UNLIMITED", "off")]
)
def test_hang_has_one_form(hang: str, text: str) -> None:
    recovery = _plan({"resilience": {"hang": hang, "heartbeat_s": 2.0}}).recovery
    assert recovery is not None
    assert (recovery.hang, recovery.heartbeat_s, recovery.min_nodes) == (text, "2", None)


def test_a_portable_script_says_what_it_leaves_out() -> None:
    job = {
        "resources": {"nodes": 2, "spares": 1},
        "checkpoint": True,
        "resilience": ["spare", "requeue"],
    }
    plan = _plan(job, portable=True)
    assert (plan.checkpoints, plan.recovery) == (None, None)
    assert _directives(plan)["--nodes"] == "2"
    assert [note.partition(".")[0].partition(",")[0] for note in plan.notes] == [
        "Left out: the spare nodes",
        "Left out: resilience",
        "Left out: checkpoint",
    ]


def test_without_the_sections_nothing_changes() -> None:
    plan = _plan({})
    assert (plan.checkpoints, plan.recovery, plan.warning_signal) == (None, None, "")
    assert "--no-kill" not in _directives(plan)
