"""`slurmkit submit` and what comes after it, through the command line, on real clusters."""

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox

pytestmark = pytest.mark.slurm
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Desk:
    """A folder on the login host with a run root of its own."""

    cluster: Sandbox
    folder: Path

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *argv: str, code: int | None = 0, **env: str) -> "CompletedProcess[str]":
        result = self.cluster.exec(
            "login",
            [str(BIN / "slurmkit"), *argv],
            cwd=self.folder,
            env={"SLURMKIT_RUN_ROOT": str(self.folder / "runs"), "PATH": _path(), **env},
            timeout=120,
        )
        shown = f"{' '.join(argv)} -> {result.returncode}\n{result.stdout}\n{result.stderr}"
        assert code is None or result.returncode == code, shown
        return result

    def json(self, *argv: str, code: int | None = 0, **env: str) -> Any:
        return json.loads(self.run(*argv, "--json", code=code, **env).stdout)


def _path() -> str:
    return f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def desk(cluster: Sandbox, request: pytest.FixtureRequest) -> Desk:
    return _desk(cluster, request)


@pytest.fixture
def any_desk(any_cluster: Sandbox, request: pytest.FixtureRequest) -> Desk:
    return _desk(any_cluster, request)


def _desk(cluster: Sandbox, request: pytest.FixtureRequest) -> Desk:
    name = re.sub(r"\W+", "-", request.node.name)
    folder = cluster.shared_dir / name
    folder.mkdir()
    return Desk(cluster, folder)


def _until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


HELLO = """\
name: hello
resources: {nodes: 2, tasks_per_node: 2, time: 5m}
launch:
  kind: torch
  command: [sh, -c, 'echo "I am $RANK of $WORLD_SIZE, $LOCAL_RANK here"']
"""


def test_submit_status_and_logs(any_desk: Desk) -> None:
    any_desk.write("hello.yaml", HELLO)
    submitted = any_desk.json("submit", "hello.yaml")
    assert [item["name"] for item in submitted] == ["hello"]
    followed = any_desk.run("logs", "hello", "--follow").stdout
    assert sorted(followed.splitlines()) == [
        f"[rank {rank}] I am {rank} of 4, {rank % 2} here" for rank in range(4)
    ]
    status = any_desk.json("status", "hello")
    assert (status["state"], status["ok"], status["done"]) == ("COMPLETED", True, True)
    assert status["job_id"] == submitted[0]["job_id"]
    assert any_desk.run("logs", "hello", "--rank", "3").stdout == "I am 3 of 4, 1 here\n"
    for other in (submitted[0]["job_id"], submitted[0]["run_id"], submitted[0]["run_dir"]):
        assert any_desk.json("status", other)["run_id"] == submitted[0]["run_id"]
    assert "COMPLETED" in any_desk.run("status").stdout


def test_the_run_directory_tells_the_whole_story(desk: Desk) -> None:
    given = HELLO + "# a comment that stays\n"
    desk.write("hello.yaml", given)
    desk.run("submit", "hello.yaml", "--set", "resources.nodes=1", "--wait")
    (run_dir,) = (desk.folder / "runs" / "hello").iterdir()
    assert (run_dir / "spec.yaml").read_text() == given
    assert "nodes: 1" in (run_dir / "resolved.yaml").read_text()
    assert json.loads((run_dir / "plan.json").read_text())["shape"]["num_nodes"] == 1
    assert (run_dir / "job.sbatch").read_text().startswith("#!/bin/bash\n#SBATCH")
    assert "commit" in json.loads((run_dir / "code.json").read_text())
    logs = {path.name for path in (run_dir / "logs" / "attempt-1").iterdir()}
    assert {"merged.log", "rank-00000.log", "rank-00001.log"} <= logs
    events = [
        json.loads(line)["event"] for line in (run_dir / "ledger.jsonl").read_text().splitlines()
    ]
    assert events[:2] == ["incarnation_started", "attempt_started"]
    assert events[-1] == "attempt_ended"


def test_cancel_a_pending_and_a_running_job(any_desk: Desk) -> None:
    any_desk.write(
        "sleep.yaml",
        "name: sleeper\nresources: {time: 5m}\nlaunch: {command: [sleep, '300']}\n",
    )
    any_desk.run("submit", "sleep.yaml")
    _until(lambda: any_desk.json("status", "sleeper")["state"] == "RUNNING")
    any_desk.write("held.yaml", any_desk.folder.joinpath("sleep.yaml").read_text())
    pending = any_desk.json("submit", "held.yaml", "--set", "name=held", "--set", "sbatch=[--hold]")
    assert any_desk.json("status", "held")["state"] == "PENDING"
    ended = any_desk.json("cancel", "sleeper", pending[0]["run_id"])
    assert [item["state"] for item in ended] == ["CANCELLED", "CANCELLED"]
    assert [item["ok"] for item in ended] == [False, False]


def test_cancel_with_a_signal_only_notifies(desk: Desk) -> None:
    desk.write(
        "trap.yaml",
        "name: trap\nresources: {time: 5m}\n"
        'launch:\n  command: [sh, -c, \'trap "echo got it; exit 0" USR2; echo on;'
        " while true; do sleep 0.1; done']\n",
    )
    desk.run("submit", "trap.yaml")
    _until(lambda: "on" in desk.run("logs", "trap", code=None).stdout)
    desk.run("cancel", "trap", "--signal", "USR2")
    _until(lambda: desk.json("status", "trap")["done"])
    assert "got it" in desk.run("logs", "trap").stdout
    assert desk.json("status", "trap")["ok"]


def test_one_failing_rank_ends_the_job_and_is_named(desk: Desk) -> None:
    desk.write(
        "fails.py",
        "import os, time\n"
        "if os.environ['RANK'] == '3':\n    raise ValueError('bad batch 17')\n"
        "time.sleep(600)\n",
    )
    desk.write(
        "fails.yaml",
        "name: fails\nresources: {nodes: 2, tasks_per_node: 2, time: 5m}\n"
        "launch: {kind: torch, command: [python, fails.py]}\n",
    )
    start = time.monotonic()
    waited = desk.run("submit", "fails.yaml", "--wait", code=1)
    assert time.monotonic() - start < 30
    status = desk.json("status", "fails")
    failure = status["elements"][0]["failure"]
    assert (status["state"], status["ok"]) == ("FAILED", False)
    assert (failure["rank"], failure["host"], failure["exit_code"]) == (3, "node2", 1)
    assert "ValueError: bad batch 17" in failure["reason"]
    for text in (waited.stderr, desk.run("status", "fails").stdout):
        assert "rank 3 on node2 exited with code 1" in text
        assert "ValueError: bad batch 17" in text
    assert "ValueError: bad batch 17" in desk.run("logs", "fails", "--rank", "3").stdout
    job_id = status["job_id"]
    accounted = desk.cluster.exec("login", ["scontrol", "show", "job", job_id]).stdout
    assert "JobState=FAILED" in accounted
    for node in desk.cluster.nodes:  # nobody sleeps on
        assert "fails.py" not in desk.cluster.exec(node, ["ps", "-eo", "args"]).stdout


def test_a_sweep_is_one_array(desk: Desk) -> None:
    desk.write(
        "sweep.yaml",
        "name: sweep\nresources: {time: 5m}\n"
        "launch: {command: [sh, -c, 'echo $1 $SWEEP_SEED', _, 'lr={sweep.lr}']}\n"
        "sweep: {lr: [1e-4, 3e-4, 1e-3], seed: [0, 1, 2]}\n",
    )
    submitted = desk.json("submit", "sweep.yaml")
    assert len(submitted) == 1
    _until(lambda: desk.json("status", "sweep")["done"], 60)
    status = desk.json("status", "sweep")
    assert (status["state"], len(status["elements"])) == ("COMPLETED", 9)
    pairs = [(lr, seed) for lr in ("1e-4", "3e-4", "1e-3") for seed in "012"]
    assert [tuple(item["values"].values()) for item in status["elements"]] == pairs
    for task, (lr, seed) in enumerate(pairs):
        assert desk.run("logs", "sweep", "--task", str(task)).stdout == (
            f"[task {task}] [rank 0] lr={lr} {seed}\n"
        )
    assert len(desk.run("logs", "sweep").stdout.splitlines()) == 9


def test_a_job_after_another(desk: Desk) -> None:
    desk.write(
        "first.yaml",
        "name: first\nresources: {time: 5m}\n"
        "launch: {command: [sh, -c, 'sleep 3; date +%s.%N > first.end']}\n",
    )
    desk.write(
        "second.yaml",
        "name: second\nresources: {time: 5m}\nafter: [first]\n"
        "launch: {command: [sh, -c, 'date +%s.%N > second.start']}\n",
    )
    desk.run("submit", "first.yaml")
    desk.run("submit", "second.yaml", "--wait")
    first = float((desk.folder / "first.end").read_text())
    assert first <= float((desk.folder / "second.start").read_text())
    # The first one is through, so nothing is left to wait for.
    desk.run("submit", "second.yaml", "--wait")


def test_after_a_run_that_never_was(desk: Desk) -> None:
    desk.write("second.yaml", "name: second\nafter: [nobody]\nlaunch: {command: [hostname]}\n")
    result = desk.run("submit", "second.yaml", code=2)
    assert "second.yaml:2:" in result.stderr
    assert "nobody" in result.stderr


def test_mistakes_are_found_before_anything_is_submitted(desk: Desk) -> None:
    desk.write(
        "wrong.yaml",
        "name: wrong\nresources:\n  nodes: 99\n  partition: debgu\n  time: 30d\n"
        "launch: {command: [no-such-program]}\n",
    )
    result = desk.run("submit", "wrong.yaml", code=2)
    assert re.search(r"wrong\.yaml:4:\d+: resources\.partition: .*debgu", result.stderr)
    assert "debug" in result.stderr
    assert not (desk.folder / "runs").exists()
    report = desk.json("check", "wrong.yaml", code=2)
    assert not report["ok"]
    assert {item["line"] for item in report["problems"]} >= {4, 6}


def test_dry_run_prints_the_script_and_submits_nothing(desk: Desk) -> None:
    desk.write("hello.yaml", HELLO)
    result = desk.run("submit", "hello.yaml", "--dry-run")
    assert result.stdout.startswith("#!/bin/bash\n#SBATCH")
    assert not (desk.folder / "runs").exists()


VALUES = [
    "two words",
    "a,b=c,d",
    'it\'s "quoted"',
    "$HOME ${RANK} $(id) `id`",
    "line one\nline two\n",
    "tab\there",
    "größer 漢字 🚀",
    "back\\slash \\n",
    "%t %j %%",
    "*?[a-z]{x,y}",
    "!history ~tilde",
    "#comment",
    "",
    " leading and trailing ",
    "-n --label",
    "carriage\rreturn",
    "\x01\x7f\x1b[31m",
]


@pytest.mark.parametrize("launcher", ["srun", "torchrun"])
def test_values_arrive_unchanged_in_every_task(desk: Desk, launcher: str) -> None:
    desk.write(
        "tell.py",
        "import json, os, sys\n"
        "got = {'argv': sys.argv[1:], 'env': {k: v for k, v in os.environ.items()"
        " if k.startswith('V_')}}\n"
        "open(f'got-{os.environ[\"RANK\"]}.json', 'w').write(json.dumps(got))\n",
    )
    spec = {
        "name": "fuzz",
        "resources": {"nodes": 2, "tasks_per_node": 2, "time": "5m"},
        "launch": {
            "kind": "torch",
            "launcher": launcher,
            "command": ["python", "tell.py", *VALUES],
        },
        "env": {f"V_{index}": value for index, value in enumerate(VALUES)},
    }
    # JSON is YAML, but for escaped surrogate pairs and a bare DEL.
    text = json.dumps(spec, ensure_ascii=False).replace("\x7f", "\\u007f")
    desk.write("fuzz.yaml", text)
    desk.run("submit", "fuzz.yaml", "--wait")
    for rank in range(4):
        got = json.loads((desk.folder / f"got-{rank}.json").read_text())
        assert got["argv"] == VALUES
        assert got["env"] == spec["env"]


def test_no_byte_of_a_secret_is_seen_anywhere_but_in_the_tasks(desk: Desk) -> None:
    secret, from_file = "s3cr3t-Zq9x'\"$ value", "f1le-Wk4v\nsecond-line-Jj8"
    key = desk.write("key.txt", from_file)
    key.chmod(0o600)
    desk.write(
        "tell.py",
        "import hashlib, os, sys\n"
        "for name in ('API_TOKEN', 'FILE_KEY'):\n"
        "    print(name, hashlib.sha256(os.environ[name].encode()).hexdigest())\n"
        "sys.exit(int(sys.argv[1]))\n",
    )
    desk.write(
        "secret.yaml",
        "name: secret\nresources: {nodes: 2, time: 5m}\n"
        "launch: {kind: torch, command: [python, tell.py, '0']}\n"
        "secrets: [API_TOKEN, {name: FILE_KEY, file: key.txt}]\n",
    )
    seen = [
        desk.run("submit", "secret.yaml", "--dry-run", API_TOKEN=secret),
        desk.run("submit", "secret.yaml", "--dry-run", "--json", API_TOKEN=secret),
        desk.run("submit", "secret.yaml", "--json", API_TOKEN=secret),
    ]
    submitted = json.loads(seen[-1].stdout)[0]
    shown = desk.cluster.exec("login", ["scontrol", "show", "job", submitted["job_id"]])
    seen.append(shown)
    _until(lambda: desk.json("status", "secret")["done"])
    status = desk.run("status", "secret", "--json")
    seen += [status, desk.run("status", "secret"), desk.run("logs", "secret")]
    assert json.loads(status.stdout)["ok"], seen[-1].stdout
    for value in (secret, from_file):
        assert seen[-1].stdout.count(hashlib.sha256(value.encode()).hexdigest()) == 2
    # A run that fails and one that is cancelled while it waits leave no secret behind either.
    desk.run(
        "submit", "secret.yaml", "--set", "launch.command.2=1", "--wait", code=1, API_TOKEN=secret
    )
    desk.run("submit", "secret.yaml", "--set", "sbatch=[--hold]", API_TOKEN=secret)
    desk.run("cancel", "secret")

    run_files = [path for path in (desk.folder / "runs").rglob("*") if path.is_file()]
    assert not [path for path in run_files if path.name == "secrets.env"]
    pieces = [secret, "Zq9x", "Wk4v", "Jj8"]
    for piece in pieces:
        for result in seen:
            assert piece not in result.stdout + result.stderr
        for path in run_files:
            assert piece.encode() not in path.read_bytes(), path
        # What Slurm keeps of jobs, such as the environment they were submitted with.
        spool = desk.cluster.layout.state_dir
        for path in spool.rglob("*"):
            if path.is_file() and desk.folder not in path.parents:
                assert piece.encode() not in path.read_bytes(), path


def test_a_secret_that_is_missing_is_an_error_that_names_it(desk: Desk) -> None:
    desk.write(
        "secret.yaml",
        "name: secret\nlaunch: {command: [hostname]}\nsecrets: [API_TOKEN]\n",
    )
    assert "API_TOKEN" in desk.run("submit", "secret.yaml", code=2).stderr


def test_submitting_inside_an_allocation_does_not_leak_its_variables(desk: Desk) -> None:
    desk.write(
        "inner.yaml",
        "name: inner\nresources: {nodes: 1, tasks_per_node: 3, time: 5m}\n"
        "launch: {kind: torch, command: [sh, -c, 'echo $RANK of $WORLD_SIZE']}\n",
    )
    outer = desk.cluster.exec(
        "login",
        ["srun", "-N2", "-n1", "--mem=100", str(BIN / "slurmkit"), "submit", "inner.yaml"],
        cwd=desk.folder,
        env={"SLURMKIT_RUN_ROOT": str(desk.folder / "runs"), "PATH": _path()},
    )
    assert outer.returncode == 0, outer.stderr
    _until(lambda: desk.json("status", "inner")["done"])
    assert desk.json("status", "inner")["ok"]
    assert sorted(desk.run("logs", "inner").stdout.splitlines()) == [
        f"[rank {rank}] {rank} of 3" for rank in range(3)
    ]


def test_many_files_are_submitted_by_one_call(desk: Desk) -> None:
    names = [f"many-{index}" for index in range(10)]
    for name in names:
        desk.write(
            f"{name}.yaml",
            f"name: {name}\nresources: {{time: 5m}}\nlaunch: {{command: [hostname]}}\n",
        )
    submitted = desk.json("submit", *[f"{name}.yaml" for name in names])
    assert [item["name"] for item in submitted] == names
    assert len({item["job_id"] for item in submitted}) == 10
    assert len(desk.run("status", "--json").stdout) > 100
    for item in submitted:
        _until(lambda: desk.json("status", item["job_id"])["done"])  # noqa: B023 (called at once)


@pytest.mark.parametrize("launcher", ["srun", "torchrun"])
def test_llama_trains_on_two_nodes(desk: Desk, launcher: str) -> None:
    desk.run("init", "llama-finetune", ".")
    result = desk.run(
        "submit",
        "llama-finetune.yaml",
        "--set",
        f"launch.launcher={launcher}",
        "--set",
        "launch.command=[python, train.py, --steps, '12', --seq-len, '64']",
        "--follow",
    )
    losses = [float(text) for text in re.findall(r"loss\s+([\d.]+)", result.stdout)]
    assert len(losses) >= 2, result.stdout
    assert losses[-1] < losses[0]
    status = desk.json("status", "llama-finetune")
    assert status["ok"]
    run_dir = Path(status["run_dir"])
    ranks = {path.name for path in (run_dir / "logs" / "attempt-1").glob("rank-*.log")}
    assert ranks == {f"rank-{rank:05d}.log" for rank in range(4)}
