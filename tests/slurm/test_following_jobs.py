"""A run that is handed from job to job, as its user sees it: status, logs, waiting, cancel, resume.

The warning that a job gets before its time limit is sent by hand, so that nobody waits for it.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox

pytestmark = pytest.mark.slurm
BIN = Path(sys.executable).parent
_PROGRAM = """\
import os, signal, sys, time
from pathlib import Path

signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75))
attempt = os.environ["SLURMKIT_ATTEMPT"]
print(f"attempt {attempt} is here", flush=True)
Path(f"started-{attempt}").touch()
while not Path("go").exists():
    time.sleep(0.05)
print("it is done", flush=True)
"""


class Desk:
    """A folder on the login host with a run root of its own."""

    def __init__(self, cluster: Sandbox, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._cluster = cluster
        (folder / "work.py").write_text(_PROGRAM)

    def run(self, *argv: str, timeout: float = 60) -> str:
        env = {
            "SLURMKIT_RUN_ROOT": str(self.folder / "runs"),
            "PATH": f"{BIN}:/usr/bin:/bin",
        }
        done = self._cluster.exec("login", argv, cwd=self.folder, env=env, timeout=timeout)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, name: str, more: str = "", command: str = "[python3, work.py]") -> str:
        (self.folder / f"{name}.yaml").write_text(
            f"name: {name}\nresources: {{time: 5m}}\nlaunch: {{command: {command}}}\n{more}\n"
        )
        (run,) = json.loads(self.run("slurmkit", "submit", f"{name}.yaml", "--json"))
        return str(run["job_id"])

    def status(self, name: str) -> Any:
        return json.loads(self.run("slurmkit", "status", name, "--json"))

    def warn(self, job_id: str) -> None:
        """Tell the job that its time ends soon, as Slurm would."""
        self.run("scancel", "--batch", "--signal=USR2", job_id)

    def started(self, attempt: int) -> bool:
        return (self.folder / f"started-{attempt}").exists()


def _until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.2)


@pytest.fixture
def desk(cluster: Sandbox, request: pytest.FixtureRequest) -> Desk:
    return Desk(cluster, cluster.shared_dir / request.node.name)


def test_a_run_is_one_run_in_however_many_jobs(desk: Desk) -> None:
    first = desk.submit("long", "resilience: successor")
    later = desk.submit("later", "after: long", "[echo, after all]")
    seen: list[str] = []
    follower = threading.Thread(
        target=lambda: seen.append(desk.run("slurmkit", "logs", "long", "--follow", timeout=120))
    )
    follower.start()
    _until(lambda: desk.started(1), 40, "the first attempt starts")
    desk.warn(first)
    _until(lambda: desk.started(2), 60, "another job goes on")
    status = desk.status("long")
    element = status["elements"][0]
    second = element["jobs"][-1]
    assert (status["job_id"], element["jobs"]) == (second, [first, second])
    assert (element["attempts"], status["done"]) == (2, False)
    assert desk.status(second)["run_id"] == status["run_id"], "it is found by its newest job"
    assert second in desk.run("squeue", "--noheader", "--format=%E", f"--jobs={later}")
    (desk.folder / "go").touch()
    follower.join(timeout=100)
    assert not follower.is_alive()
    lines = seen[0].splitlines()
    assert [line.partition("] ")[2] for line in lines if line.startswith("[rank 0]")] == [
        "attempt 1 is here",
        "attempt 2 is here",
        "it is done",
    ]
    assert desk.status("long")["state"] == "COMPLETED"
    _until(lambda: desk.status("later")["done"], 40, "what waited for the run starts and ends")
    assert desk.status("later")["ok"]


def test_a_cancelled_run_stays_cancelled_until_it_is_resumed(desk: Desk) -> None:
    first = desk.submit("unwanted", "resilience: [successor, requeue]")
    _until(lambda: desk.started(1), 40, "the first attempt starts")
    desk.warn(first)
    # Whether the successor is there already or only on its way, it must not survive this.
    desk.run("slurmkit", "cancel", "unwanted")
    _until(lambda: not desk.run("squeue", "-h", "--name=unwanted"), 60, "no job of it is left")
    time.sleep(2.0)  # nothing tells that something will not happen
    assert not desk.run("squeue", "-h", "--name=unwanted")
    assert desk.status("unwanted")["state"] in ("CANCELLED", "FAILED")
    (desk.folder / "go").touch()
    desk.run("slurmkit", "resume", "unwanted")
    _until(lambda: desk.status("unwanted")["done"], 60, "the resumed run ends")
    status = desk.status("unwanted")
    assert status["ok"], status
    assert status["elements"][0]["jobs"][0] == first


def test_an_element_of_an_array_goes_on_by_itself(desk: Desk) -> None:
    (desk.folder / "work.py").write_text(
        _PROGRAM.replace('"go"', "f\"go-{os.environ['SLURM_ARRAY_TASK_ID']}\"").replace(
            'f"started-{attempt}"', "f\"started-{os.environ['SLURM_ARRAY_TASK_ID']}-{attempt}\""
        )
    )
    array = desk.submit("sweep", "array: 3,5\nresilience: successor")
    _until((desk.folder / "started-3-1").exists, 40, "element 3 starts")
    _until((desk.folder / "started-5-1").exists, 40, "element 5 starts")
    desk.warn(f"{array}_5")
    _until((desk.folder / "started-5-2").exists, 60, "element 5 goes on")
    (desk.folder / "go-5").touch()

    def element(task: int) -> Any:
        return next(item for item in desk.status("sweep")["elements"] if item["task"] == task)

    _until(lambda: element(5)["state"] == "COMPLETED", 40, "element 5 ends")
    assert (element(3)["state"], element(3)["jobs"]) == ("RUNNING", [array])
    assert element(5)["jobs"][0] == array
    assert len(element(5)["jobs"]) == 2
    assert desk.status("sweep")["state"] == "RUNNING"
    logs = desk.run("slurmkit", "logs", "sweep", "--task", "5")
    assert "attempt 1 is here" in logs
    assert "attempt 2 is here" in logs
    desk.run("slurmkit", "cancel", "sweep")
    (desk.folder / "go-3").touch()
    resumed = desk.run("slurmkit", "resume", "sweep", "--json")
    _until(lambda: desk.status("sweep")["done"], 60, "the resumed element ends")
    assert desk.status("sweep")["ok"]
    assert element(3)["jobs"] == [array, json.loads(resumed)[0]["job_id"]]
    assert len(element(5)["jobs"]) == 2, "an element that completed is not started again"
