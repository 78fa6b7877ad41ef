"""The job step of the agents: started by one srun, and started again where agents are missing.

When a node dies, Slurm ends the whole step after SlurmdTimeout, agents of healthy nodes included.
Those nodes are not lost: their agents are started anew, on the nodes that are left.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slurmkit.hostlist import compress

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# A step that ends this soon never ran: srun refused all of it because of one node.
_REFUSED_WITHIN_S = 5.0
# An agent whose connection was cut comes back by itself in less than this.
_RECONNECT_S = 1.0
_RETRY_S = (0.2, 1.0, 2.0, 5.0, 10.0)
# Options of the job's own launch that Slurm hands on by the environment (srun(1), INPUT ENVIRONMENT
# VARIABLES): an agent wants no GPU, no memory and no binding.
_KEPT = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CONF", "SLURMD_NODENAME", "SLURM_CLUSTERS")


def command_line(program: Sequence[str], nodes: Sequence[str], control: Path) -> list[str]:
    """Return the srun line that starts one agent on each of these nodes."""
    options = step_options(nodes)
    return ["srun", *options, "--job-name=slurmkit-agent", *program, "agent", str(control)]


def step_options(nodes: Sequence[str]) -> list[str]:
    """Return the options of a step with one task on each of these nodes, beside the job's own."""
    return [
        "--overlap",
        f"--nodes={len(nodes)}",
        f"--ntasks={len(nodes)}",
        "--ntasks-per-node=1",
        "--cpus-per-task=1",
        f"--nodelist={compress(nodes)}",
        "--mem=0",
        "--gres=none",
        "--cpu-bind=none",
        "--mpi=none",
        "--input=none",
        "--kill-on-bad-exit=0",
        "--wait=0",
    ]


def step_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for that line: without what the job's own launch asks for."""
    prefixes = ("SLURM_", "SRUN_", "SBATCH_", "PMI", "OMPI_")
    return {
        name: value for name, value in env.items() if name in _KEPT or not name.startswith(prefixes)
    }


@dataclass
class _Launch:
    process: "subprocess.Popen[bytes]"
    nodes: tuple[str, ...]
    started: float


@dataclass
class AgentStep:
    """Keeps an agent on every node; ``tick`` is called now and then, and never waits.

    Attributes:
        program: the words of the slurmkit program.
        control: the control file that agents are given.
        log: where srun and agents write what goes wrong.
    """

    program: Sequence[str]
    control: Path
    log: Path
    spawn: "Callable[[Sequence[str]], subprocess.Popen[bytes]] | None" = None
    _wanted: dict[str, None] = field(default_factory=dict)
    _running: list[_Launch] = field(default_factory=list)
    _failures: dict[str, int] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _alone: set[str] = field(default_factory=set)

    def want(self, nodes: Sequence[str]) -> None:
        """From now on there should be an agent on these nodes, too."""
        self._wanted |= dict.fromkeys(nodes)

    def unwant(self, node: str) -> None:
        """This node needs no agent any more, or cannot have one."""
        self._wanted.pop(node, None)

    def tick(self, now: float, connected: frozenset[str] | set[str]) -> None:
        """Start agents where there are none.

        Args:
            now: monotonic seconds.
            connected: nodes whose agents are connected.
        """
        for node in connected & self._failures.keys():
            del self._failures[node]
        for launch in list(self._running):
            if launch.process.poll() is not None:
                self._running.remove(launch)
                self._ended(launch, now, connected)
        covered = {node for launch in self._running for node in launch.nodes}
        missing = [
            node
            for node in self._wanted
            if node not in connected
            and node not in covered
            and self._not_before.get(node, 0.0) <= now
        ]
        together = tuple(node for node in missing if node not in self._alone)
        groups = [together] if together else []
        groups += [(node,) for node in missing if node in self._alone][:8]
        for nodes in groups:
            self._running.append(_Launch(self._start(nodes), nodes, now))

    def agent_ended(self, node: str) -> None:
        """The agent of a node has gone while its step goes on: soon, do not count on that step."""
        self._not_before[node] = time.monotonic() + _RECONNECT_S
        for launch in self._running:
            if node in launch.nodes:
                launch.nodes = tuple(name for name in launch.nodes if name != node)

    def _ended(self, launch: _Launch, now: float, connected: frozenset[str] | set[str]) -> None:
        """A step has ended: note for whom that was a failure, and when to try again."""
        refused = now - launch.started < _REFUSED_WITHIN_S
        for node in launch.nodes:
            if node in connected:
                continue
            times = self._failures.get(node, 0) + 1 if refused else 0
            self._failures[node] = times
            self._not_before[node] = now + _RETRY_S[min(times, len(_RETRY_S) - 1)]
        if refused and len(launch.nodes) > 1 and self._failures.get(launch.nodes[0], 0) > 1:
            self._alone.update(launch.nodes)  # one of them is in the way of all

    def _start(self, nodes: Sequence[str]) -> "subprocess.Popen[bytes]":
        command = command_line(self.program, nodes, self.control)
        if self.spawn is not None:
            return self.spawn(command)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                env=step_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 (no thread of ours holds a lock)
            )

    def stop(self, within_s: float = 2.0) -> None:
        """End all agents' steps."""
        self._wanted.clear()
        for launch in self._running:
            with contextlib.suppress(ProcessLookupError):
                launch.process.send_signal(signal.SIGTERM)
        for launch in self._running:
            try:
                launch.process.wait(within_s)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(launch.process.pid, signal.SIGKILL)
                launch.process.wait()
        self._running.clear()


def _die_with_parent() -> Callable[[], object] | None:
    """Return what ties a child's life to ours."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    arguments = (ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(int(signal.SIGTERM)))
    return lambda: prctl(*arguments)
