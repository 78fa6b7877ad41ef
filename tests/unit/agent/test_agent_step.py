"""Which srun lines start agents, and when; the processes are ours, the decisions real."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from slurmkit.hostlist import expand
from slurmkit.supervise.agent_step import AgentStep, command_line, step_environment


class Starter:
    """Starts a program of the test's choice and remembers for which nodes."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.command: Callable[[list[str]], list[str]] = lambda nodes: ["sleep", "60"]

    def __call__(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        nodes = next(word.partition("=")[2] for word in command if word.startswith("--nodelist="))
        self.groups.append(expand(nodes))
        self.processes.append(subprocess.Popen(self.command(self.groups[-1])))
        return self.processes[-1]


@pytest.fixture
def starter() -> Starter:
    return Starter()


@pytest.fixture
def step(starter: Starter, tmp_path: Path) -> AgentStep:
    return AgentStep(("slurmkit",), tmp_path / "control", tmp_path / "log", spawn=starter)


def wait(starter: Starter) -> None:
    for process in starter.processes:
        process.wait(10)


def test_one_line_starts_all(step: AgentStep, starter: Starter) -> None:
    nodes = [f"n{i}" for i in range(5000)]
    step.want(nodes)
    step.tick(time.monotonic(), set())
    step.tick(time.monotonic(), set())
    assert starter.groups == [nodes]
    step.stop()
    assert starter.processes[0].returncode is not None


def test_after_a_kill_only_the_missing_are_started(step: AgentStep, starter: Starter) -> None:
    step.want(["n1", "n2", "n3"])
    now = time.monotonic()
    step.tick(now, set())
    starter.processes[0].kill()
    wait(starter)
    step.unwant("n3")
    step.tick(now + 60, {"n1"})
    step.tick(now + 61, {"n1"})
    assert starter.groups[1:] == [["n2"]]
    step.stop()


def test_an_agent_that_ended_alone_is_started_beside_the_step(
    step: AgentStep, starter: Starter
) -> None:
    step.want(["n1", "n2"])
    now = time.monotonic()
    step.tick(now, set())
    step.agent_ended("n2")
    step.tick(now + 0.5, {"n1"})
    assert len(starter.groups) == 1  # a connection that was cut comes back by itself
    step.tick(now + 5, {"n1"})
    assert starter.groups[1:] == [["n2"]]
    step.stop()


def test_one_bad_node_does_not_keep_the_others_without_agents(
    step: AgentStep, starter: Starter
) -> None:
    """srun refuses a whole step because of one node that is down."""
    starter.command = lambda nodes: ["false"] if "bad" in nodes else ["sleep", "60"]
    step.want(["n1", "bad", "n2"])
    now = time.monotonic()
    for turn in range(200):
        covered = {
            node
            for group, process in zip(starter.groups, starter.processes, strict=True)
            if process.poll() is None and "bad" not in group
            for node in group
        }
        step.tick(now + turn * 0.5, set())
        if starter.processes and starter.groups[-1] == ["bad"]:
            starter.processes[-1].wait(10)
        if {"n1", "n2"} <= covered:
            break
        time.sleep(0.01)
    assert {"n1", "n2"} <= covered
    step.stop()


def test_the_line_asks_for_nothing_but_a_place() -> None:
    line = command_line(("slurmkit",), ["n1", "n2", "n3"], Path("/run/control/a"))
    assert line[-3:] == ["slurmkit", "agent", "/run/control/a"]
    for word in ("--overlap", "--nodes=3", "--ntasks=3", "--nodelist=n[1-3]", "--gres=none"):
        assert word in line


def test_what_the_ranks_launch_asks_for_is_not_handed_on() -> None:
    env = {"SLURM_JOB_ID": "7", "SLURM_GPUS_PER_NODE": "8", "SRUN_CPUS_PER_TASK": "9"}
    env |= {"SLURM_NTASKS": "3", "HOME": "/h", "PMIX_RANK": "1", "SLURM_CONF": "/etc/s"}
    assert step_environment(env) == {"SLURM_JOB_ID": "7", "HOME": "/h", "SLURM_CONF": "/etc/s"}
