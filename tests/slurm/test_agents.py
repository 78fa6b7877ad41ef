"""Agents of real job steps: nodes that die, freeze and are cut off, and a step that Slurm kills."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slurmkit.sandbox import Sandbox, SandboxUnavailableError
from slurmkit.supervise.agent_wire import read_control, write_control

pytestmark = pytest.mark.slurm
SEEN_WITHIN_S = 4.0

# A supervisor that does nothing but watch nodes: what happens is a line in a file.
_SUPERVISOR = """
import asyncio, json, os, sys, time
from pathlib import Path
from slurmkit.hostlist import expand
from slurmkit.rundir.atomic import atomic_write
from slurmkit.rundir.layout import ElementDir
from slurmkit.supervise.agents import Agents, AgentSettings

folder = Path(sys.argv[1])
events = open(folder / "events", "a", buffering=1)

def on_event(event):
    values = {name: str(value) for name, value in vars(event).items()}
    events.write(json.dumps({"time": time.time(), "event": type(event).__name__, **values}) + "\\n")

async def main():
    atomic_write(folder / "fence", "1.0.t")
    settings = AgentSettings(preflight="quick", patience_s=4.0, successor=True)
    agents = Agents(
        ElementDir(folder), "1.0.t", heartbeat_s=1.0, on_event=on_event, settings=settings
    )
    await agents.start()
    agents.launch(expand(os.environ["SLURM_JOB_NODELIST"]))
    while not (folder / "end").exists():
        await asyncio.sleep(0.1)
    await agents.stop()

asyncio.run(main())
"""


@dataclass
class Job:
    """One job with agents on all nodes of a cluster."""

    cluster: Sandbox
    folder: Path

    @property
    def control(self) -> Path:
        return self.folder / "control" / "agents-1.0.t.json"

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [event for event in found if kind in ("", event["event"])]

    def until(self, true: Callable[[], object], timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            said = self.folder / "control" / "agents.log"
            log = said.read_text() if said.exists() else ""
            assert time.monotonic() < deadline, f"{self.events()[-4:]}\n{log}"
            time.sleep(0.05)

    def lost(self, host: str, fault: Callable[[str], None]) -> float:
        """Break a host and return after how many seconds that was seen."""
        before = len(self.events("AgentLost"))
        started = time.time()
        fault(host)
        self.until(lambda: len(self.events("AgentLost")) > before)
        seen = self.events("AgentLost")[before]
        assert seen["host"] == host
        return float(seen["time"]) - started

    def heal(self, host: str) -> None:
        before = len(self.events("AgentUp"))
        self.cluster.heal(host)
        self.until(lambda: len(self.events("AgentUp")) > before)
        back = self.events("AgentUp")[before]
        assert (back["host"], back["returned"]) == (host, "True")

    def agents_on(self, node: str) -> int:
        done = self.cluster.exec(node, ["pgrep", "-fc", "slurmkit agent /"])
        return int(done.stdout or 0)

    def steps(self) -> str:
        argv = ["squeue", "--steps", "--noheader", "--format=%i %j %N"]
        return self.cluster.exec("login", argv).stdout


@pytest.fixture(scope="module")
def four_nodes() -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a sandbox cluster needs root")
    try:
        sandbox = Sandbox.up(f"test-agents-{os.getpid()}", nodes=4, gpus=0, cpus=8)
    except SandboxUnavailableError as error:
        pytest.skip(f"no sandbox cluster on this machine: {error.message}")
    try:
        yield sandbox
    finally:
        sandbox.down()


@pytest.fixture
def job(four_nodes: Sandbox, request: pytest.FixtureRequest) -> Iterator[Job]:
    folder = four_nodes.shared_dir / request.node.name
    folder.mkdir()
    (folder / "supervisor.py").write_text(_SUPERVISOR)
    script = f"""#!/bin/bash
#SBATCH --nodes=4 --exclusive --no-kill --output={folder}/out
exec {sys.executable} {folder}/supervisor.py {folder}
"""
    (folder / "job.sh").write_text(script)
    found = Job(four_nodes, folder)
    four_nodes.exec("login", ["sbatch", folder / "job.sh"], check=True)
    found.until(lambda: len(found.events("AgentUp")) == 4)
    yield found
    (folder / "end").write_text("")
    four_nodes.exec("login", ["scancel", "--me"])
    for status in four_nodes.status():
        if status.condition != "up":
            four_nodes.heal(status.name)
    found.until(lambda: not four_nodes.exec("login", ["squeue", "-h"]).stdout.strip(), 60)


def test_faults_are_seen_and_nothing_else(job: Job) -> None:
    assert all("'fail'" not in event["verdicts"] for event in job.events("AgentUp"))
    assert job.lost("node3", job.cluster.freeze) < SEEN_WITHIN_S
    job.heal("node3")
    assert job.lost("node2", job.cluster.partition) < SEEN_WITHIN_S
    job.heal("node2")
    assert [event["host"] for event in job.events("AgentLost")] == ["node3", "node2"]


def test_an_agent_with_another_secret_is_refused(job: Job) -> None:
    forged = job.folder / "forged" / "agents"
    control = read_control(job.control)
    write_control(forged, control.replace(secret="00" * 32))
    agent = job.cluster.popen(
        "login",
        [sys.executable, "-m", "slurmkit", "agent", forged],
        env={"SLURMD_NODENAME": "node9", "SLURM_JOB_ID": "77"},
    )
    time.sleep(3.0)
    assert {event["host"] for event in job.events()} == {"node1", "node2", "node3", "node4"}
    assert not job.events("AgentLost")
    agent.kill()
    agent.wait()


def test_the_step_that_slurm_kills_with_a_node_is_started_anew(job: Job) -> None:
    assert job.lost("node4", job.cluster.kill) < SEEN_WITHIN_S
    first = job.steps()
    assert "slurmkit-agent" in first

    def anew() -> bool:
        lines = [line for line in job.steps().splitlines() if "slurmkit-agent" in line]
        return bool(lines) and all("4" not in line.split()[2] for line in lines)

    job.until(anew, 90)
    job.until(lambda: all(job.agents_on(node) for node in ("node1", "node2", "node3")))
    time.sleep(4.0)
    assert [event["host"] for event in job.events("AgentLost")] == ["node4"]
    assert len(job.events("AgentUp")) == 4


def test_agents_without_a_supervisor_end_and_one_of_them_takes_care(job: Job) -> None:
    job.cluster.kill("node1")
    rest = ("node2", "node3", "node4")
    job.until(lambda: not any(job.agents_on(node) for node in rest), 40)
    claim = (job.folder / "control" / "successor-1.0.t").read_text().splitlines()
    assert claim[0] in rest
