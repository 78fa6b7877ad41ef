"""Prepares a launch: the attempt's folder, the checkpoint fence, the port, the line, the variables.

All of it touches the run directory, so it runs in a thread.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmkit.checkpoint.fence import write_fence
from slurmkit.checkpoint.layout import CheckpointDir
from slurmkit.launch.ports import reserve
from slurmkit.launch.rendezvous import master_address, seed
from slurmkit.rundir.layout import ElementDir
from slurmkit.rundir.ledger import check_fence
from slurmkit.supervise.attempt import Plan, attempt_environment
from slurmkit.supervise.boot import Life
from slurmkit.supervise.clockwork import Times
from slurmkit.supervise.context import CONTINUE_VARIABLE, step_hosts
from slurmkit.supervise.relaunch import on_nodes
from slurmkit.supervise.restart import (
    RESTART_VARIABLE,
    WARNING_VARIABLE,
    restart_dir,
    warning_path,
)

CHECKPOINT_VARIABLE = "SLURMKIT_CHECKPOINT_DIR"


@dataclass(frozen=True)
class Prepared:
    """A launch that can begin.

    Attributes:
        plan: what to do.
        holder: reserves the port while it is open; None where that is not possible.
    """

    plan: Plan
    holder: socket.socket | None

    def release(self) -> None:
        """Give the port back."""
        if self.holder is not None:
            self.holder.close()


class LaunchPad:
    """Prepares the launches of one life of a job.

    Args:
        life: what it started from.
        incarnation: its name.
        hooks: the site's hooks for tasks; empty for none.
        warn: is told what goes wrong without being in the way.
    """

    def __init__(
        self, life: Life, incarnation: str, hooks: str, warn: Callable[[str], None]
    ) -> None:
        self._life = life
        self._incarnation = incarnation
        self._hooks = hooks
        self._warn = warn
        self._element: ElementDir = life.run.element(life.job.array_task)
        folder = os.environ.get(CHECKPOINT_VARIABLE) or "checkpoints"
        #: Where checkpoints are; a relative folder is below the element's.
        self.checkpoints: Path = self._element.path / folder
        # A job that says nothing of checkpoints or recovery gets no folder for them.
        self._fenced = bool(life.options.remedies) or CHECKPOINT_VARIABLE in os.environ

    def prepare(self, nodes: Sequence[str], times: Times, variables: Mapping[str, str]) -> Prepared:
        """Make the next attempt's folder, and let only this attempt commit checkpoints.

        Args:
            nodes: where to run, in Slurm's order.
            times: what Slurm said of the job's time.
            variables: how tasks find their agent.

        Raises:
            StaleWriterError: a newer incarnation has taken the run over.
            OSError: the run directory cannot be written.
            SlurmkitError: no port is free.
        """
        life = self._life
        check_fence(self._element, self._incarnation)  # a stale one must not take the checkpoints
        number = self._element.new_attempt()
        token = f"{self._incarnation}/{number}"
        if self._fenced:
            self._take_checkpoints(token)
        command = list(life.options.command)
        if life.options.remedies and life.can_move:
            command = on_nodes(command, nodes, name=step_name(number))
        hosts = tuple(step_hosts(command, life.job))
        port, holder = reserve(seed(dict(os.environ)) + 7 * number)
        address = self._address(hosts)
        folder = self._element.attempt_dir(number)
        values: dict[str, str | None] = {
            "MASTER_ADDR": address,
            "MASTER_PORT": str(port),
            "SLURMKIT_RENDEZVOUS_HOST": life.job.host,
            "SLURMKIT_RUN_DIR": str(life.run.path),
            "SLURMKIT_ATTEMPT": str(number),
            "SLURMKIT_INCARNATION": self._incarnation,
            CHECKPOINT_VARIABLE: str(self.checkpoints),
            "SLURMKIT_FENCE": token if self._fenced else None,
            RESTART_VARIABLE: self._restart_dir(token),
            WARNING_VARIABLE: warning_path(folder),
            "SLURMKIT_GRACE_S": _text(times.grace_s),
            "SLURMKIT_MTBF_S": _text(life.past.mean_time_between_failures_s),
            CONTINUE_VARIABLE: None,
            **variables,
        }
        if self._hooks:
            values["SLURMKIT_HOOKS"] = self._hooks
        env = attempt_environment(os.environ, values)
        plan = Plan(number, folder, tuple(command), env, hosts, f"{address}:{port}")
        return Prepared(plan, holder)

    def _restart_dir(self, token: str) -> str | None:
        fence = token if self._fenced else None
        return restart_dir(self.checkpoints, fence, os.environ, self._warn)

    def _address(self, hosts: Sequence[str]) -> str:
        """Return the name that ranks meet at.

        Where the step leaves this host out, ``slurmkit exec`` lets rank 0 choose a port on its own
        host; what is started without it has to do with the first node's name.
        """
        if not hosts or self._life.job.host in hosts:
            return master_address(dict(os.environ))
        return hosts[0] + os.environ.get("SLURMKIT_MASTER_ADDR_SUFFIX", "")

    def _take_checkpoints(self, token: str) -> None:
        """Let only this attempt commit, and clear away what earlier ones left half done."""
        folder = CheckpointDir(self.checkpoints)
        try:
            write_fence(folder.path, token)
            swept = folder.sweep()
        except OSError as error:
            self._warn(f"the checkpoint folder {folder.path} cannot be prepared: {error}")
            return
        if swept:
            self._warn(f"removed {len(swept)} unfinished checkpoints from {folder.path}")


def step_name(attempt: int) -> str:
    """Return what the job step of an attempt is called."""
    return f"attempt-{attempt}"


def _text(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"
