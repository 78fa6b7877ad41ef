"""report, explain and ckpt on a run directory that was written by the real ledger and store."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from slurmkit import api
from slurmkit.api.schemas import NAMES, schema_of
from slurmkit.checkpoint.commands import begin_folder, commit_folder
from slurmkit.checkpoint.fence import write_fence
from slurmkit.rundir.layout import ElementDir, RunDir
from slurmkit.rundir.ledger import LedgerWriter

SLURMKIT = str(Path(sys.executable).with_name("slurmkit"))
T0 = 1_800_000_000.0


def _cli(*argv: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SLURMKIT, *argv],
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **(env or {})},
    )


def _write_ledger(element: ElementDir) -> None:
    """A node is lost at 100 s, a spare takes over, and the run completes at 200 s."""
    ledger = LedgerWriter(element, "17.0.abcd")

    def note(at: float, event: str, attempt: int = 1, **fields: Any) -> None:
        ledger.append(event, attempt, at=T0 + at, **fields)

    note(0, "incarnation_started", 0, job_id="17", nodes="n[1-3]", host="n1", excluded=[])
    start = {"job_id": "17", "nodes": "n[1-3]", "host": "n1", "command": ["srun"]}
    note(5, "attempt_started", step_nodes=["n1", "n2"], **start)
    note(10, "first_step", step=0, restored=None)
    note(60, "checkpoint_committed", step=50, size_bytes=10**9, save_s=0.0, stall_s=0.0)
    note(100, "progress", step=90, epoch=0)
    note(100, "node_lost", host="n2", silent_s=3.0, why="no heartbeat")
    note(100, "node_excluded", host="n2", reason="n2 is silent for 3.0 s")
    note(100, "attempt_ended", exit_code=137, state="failed", reason="", root_cause=None)
    note(100, "failure", kind="node", key="", host="n2", reason="n2 is silent for 3.0 s", step=90)
    reason = "n2 is silent for 3.0 s: n3 steps in"
    nodes = ["n1", "n3"]
    note(
        100,
        "decision",
        action="spare",
        reason=reason,
        nodes=nodes,
        excluded=["n2"],
        restarts_left=4,
    )
    note(101, "attempt_started", 2, step_nodes=nodes, **start)
    note(104, "first_step", 2, step=50, restored=50)
    note(200, "progress", 2, step=146, epoch=0)
    note(200, "attempt_ended", 2, exit_code=0, state="completed", reason="", root_cause=None)
    note(200, "run_completed", 2)
    ledger.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setenv("SLURMKIT_RUN_ROOT", str(tmp_path / "runs"))
    run = RunDir.create(tmp_path / "runs", "demo")
    _write_ledger(run.element())
    for step in (50, 100, 146):
        folder = run.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        (begin_folder(folder, step) / "state.bin").write_bytes(b"weights" * 100)
        commit_folder(folder, step)
    return run


def test_report_adds_up(run: RunDir) -> None:
    done = _cli("report", "demo", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    jsonschema.validate(report, schema_of("report"))
    time = report["time"]
    assert time["wall_s"] == 200
    assert sum(value for name, value in time.items() if name != "wall_s") == pytest.approx(200)
    assert (time["lost_s"], time["restart_s"], time["queued_s"]) == (40, 14, 0)
    element = report["elements"][0]
    assert (element["failures"], element["mttr_s"], element["lost_steps"]) == ({"node": 1}, 4, 40)
    assert element["excluded"] == ["n2"]
    assert report["ettr"] == pytest.approx(146 / 200)


def test_report_for_people(run: RunDir) -> None:
    done = _cli("report", "demo")
    assert "productive  2 min 26 s  73.0 %" in done.stdout
    assert "failures   1 node" in done.stdout
    assert "ETTR       0.730" in done.stdout


def test_explain_says_what_why_and_when(run: RunDir) -> None:
    done = _cli("explain", run.run_id)
    said = done.stdout
    assert "It completed at step 146 after a lost node." in said
    assert "Attempt 1 started on n[1-2]." in said
    assert "Node n2 gave no sign of life for 3 s and was given up: no heartbeat." in said
    assert (
        "It was started again with a spare node on n[1,3]: n3 steps in. 4 more restarts without a"
        " new checkpoint are allowed." in said
    )
    assert (
        "It went on from the checkpoint of step 50; 40 steps had to be made again, 4 s after the"
        " failure." in said
    )
    assert "n2 is silent" not in said, "nothing is said twice"


def test_explain_as_json(run: RunDir) -> None:
    story = json.loads(_cli("explain", str(run.path), "--json").stdout)
    jsonschema.validate(story, schema_of("explain"))
    events = story["elements"][0]["events"]
    assert [event["event"] for event in events][-1] == "run_completed"
    assert events[0]["time"] == T0


def test_an_array_has_a_report_and_a_story_per_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMKIT_RUN_ROOT", str(tmp_path / "runs"))
    run = RunDir.create(tmp_path / "runs", "array")
    for task in (0, 3):
        _write_ledger(run.element(task))
    report = api.report("array")
    assert [element.task for element in report.elements] == [0, 3]
    assert (report.time.wall_s, report.failures) == (400, {"node": 2})
    assert "2 elements" in _cli("report", "array").stdout
    assert "Element 3: It completed" in _cli("explain", "array", "--task", "3").stdout
    assert _cli("explain", "array", "--task", "1").returncode == 2


def test_ckpt_list_verify_and_prune(run: RunDir) -> None:
    listed = json.loads(_cli("ckpt", "list", "demo", "--json").stdout)
    jsonschema.validate(listed, schema_of("ckpt-list"))
    assert [step["step"] for step in listed[0]["steps"]] == [50, 100, 146]
    verified = _cli("ckpt", "verify", "demo", "--step", "100", "--json")
    assert verified.returncode == 0
    jsonschema.validate(json.loads(verified.stdout), schema_of("ckpt-verify"))
    pruned = json.loads(_cli("ckpt", "prune", "demo", "--keep", "1", "--json").stdout)
    jsonschema.validate(pruned, schema_of("ckpt-prune"))
    assert (pruned[0]["removed"], pruned[0]["kept"]) == ([50, 100], [146])
    assert "146" in _cli("ckpt", "list", str(run.path / "checkpoints")).stdout


def test_ckpt_verify_names_the_damaged_file(run: RunDir) -> None:
    victim = run.path / "checkpoints" / "step-0000000100" / "state.bin"
    data = bytearray(victim.read_bytes())
    data[17] ^= 1
    victim.write_bytes(data)
    done = _cli("ckpt", "verify", "demo")
    assert done.returncode == 1
    assert "step 100: DAMAGED" in done.stdout
    assert "state.bin" in done.stdout
    assert "step 146: ok" in done.stdout


def test_ckpt_begin_and_commit_for_programs_in_any_language(tmp_path: Path) -> None:
    env = {"SLURMKIT_CHECKPOINT_DIR": str(tmp_path / "ckpt"), "SLURMKIT_CHECKPOINT_KEEP": "1"}
    for step in ("7", "8"):
        folder = Path(_cli("ckpt", "begin", step, env=env).stdout.strip())
        (folder / "field.dat").write_bytes(b"x" * 1000)
        done = _cli("ckpt", "commit", step, "--json", env=env)
        assert done.returncode == 0, done.stderr
        committed = json.loads(done.stdout)
        jsonschema.validate(committed, schema_of("ckpt-commit"))
        assert (committed["step"], committed["num_files"]) == (int(step), 1)
    assert [item.step for item in api.list_checkpoints(str(tmp_path / "ckpt"))[0].steps] == [8]


def test_a_start_that_was_replaced_may_not_commit(tmp_path: Path) -> None:
    folder = tmp_path / "ckpt"
    env = {"SLURMKIT_CHECKPOINT_DIR": str(folder), "SLURMKIT_FENCE": "17.0.abcd/1"}
    write_fence(folder, "17.0.abcd/1")
    (Path(_cli("ckpt", "begin", "7", env=env).stdout.strip()) / "field.dat").write_bytes(b"x")
    write_fence(folder, "19.0.ef01/2")
    done = _cli("ckpt", "commit", "7", env=env)
    assert done.returncode == 1
    assert "19.0.ef01/2" in done.stderr
    assert api.list_checkpoints(str(folder))[0].steps == []


def test_ckpt_commit_without_a_folder_says_what_to_do() -> None:
    done = _cli("ckpt", "commit", "1", env={"SLURMKIT_CHECKPOINT_DIR": ""})
    assert done.returncode == 2
    assert "SLURMKIT_CHECKPOINT_DIR" in done.stderr


def test_absolute_folders_come_from_the_plan(run: RunDir, tmp_path: Path) -> None:
    plan = {"checkpoints": {"dir": [str(tmp_path / "elsewhere")]}}
    run.plan_path.write_text(json.dumps(plan))
    assert api.list_checkpoints("demo")[0].folder == str(tmp_path / "elsewhere")


def test_every_schema_is_one() -> None:
    for name in NAMES:
        jsonschema.Draft202012Validator.check_schema(schema_of(name))


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("topo-show", ["show"]),
        ("topo-plan", ["plan", "--ranks", "8"]),
        ("topo-verify", ["verify"]),
    ],
)
def test_topologies_are_as_their_schemas_say(name: str, argv: list[str]) -> None:
    done = _cli("topo", *argv, "--profile", "dgx-h100", "--json")
    jsonschema.validate(json.loads(done.stdout), schema_of(name))
