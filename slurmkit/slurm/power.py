"""What elastic capacity asks and tells Slurm: jobs that wait, and nodes that did not start."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from slurmkit.slurm import normalise
from slurmkit.slurm.environ import query_environment
from slurmkit.slurm.inventory import DeclaredNode, read_inventory
from slurmkit.slurm.runner import Runner
from slurmkit.units import parse_duration_s

_FORMAT = "%i|%P|%r|%D|%C|%b|%l|%V|%h|%Q"
_GPUS = re.compile(r"gres[:/]gpu(?:[:=/][A-Za-z][\w.-]*)?[:=](\d+)|gpu(?::[A-Za-z][\w.-]*)?:(\d+)")
_MAX_REASON = 200


@dataclass(frozen=True)
class WaitingJob:
    """A job that waits.

    Attributes:
        id: as squeue shows it.
        partitions: where it may run, most wanted first.
        reason: Slurm's word for why it waits.
        num_nodes: nodes that it asks for, at least.
        num_cpus: CPUs that it asks for in all.
        gpus_per_node: GPUs of each of its nodes.
        limit_s: its time limit, seconds; None for none.
        submitted: when, Unix seconds.
        exclusive: whether it shares no node.
        priority: Slurm's number.
    """

    id: str
    partitions: tuple[str, ...]
    reason: str
    num_nodes: int = 1
    num_cpus: int = 1
    gpus_per_node: int = 0
    limit_s: int | None = None
    submitted: float = 0.0
    exclusive: bool = False
    priority: int = 0


def read_waiting(printed: str) -> list[WaitingJob]:
    """Return the jobs that squeue printed in the form of this module, first in line first."""
    rows = [line.split("|") for line in printed.splitlines() if line.count("|") == 9]
    return sorted((_job(row) for row in rows), key=lambda job: (-job.priority, job.submitted))


def _job(row: list[str]) -> WaitingJob:
    job, partitions, reason, nodes, cpus, gres, limit, submitted, sharing, priority = row
    match = _GPUS.search(gres)
    return WaitingJob(
        id=job,
        partitions=tuple(partitions.split(",")),
        reason=reason,
        num_nodes=max(1, int(nodes.partition("-")[0] or 1) if nodes[:1].isdigit() else 1),
        num_cpus=int(cpus) if cpus.isdigit() else 1,
        gpus_per_node=int(match[1] or match[2]) if match else 0,
        limit_s=_seconds(limit),
        submitted=normalise.utc_time(submitted),
        exclusive=sharing.strip().upper() == "NO",
        priority=int(priority) if priority.isdigit() else 0,
    )


def _seconds(limit: str) -> int | None:
    """Return seconds of squeue's ``1-02:03:04``, ``10:00`` (minutes:seconds), or None."""
    if limit in ("UNLIMITED", "NOT_SET", "INVALID", ""):
        return None
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if len(parts) < 3:
        clock = ":".join(["0"] * (3 - len(parts)) + parts)
    return parse_duration_s(f"{days}-{clock}" if days else clock)


class PowerDoor:
    """Slurm's programs, as elastic capacity uses them.

    Args:
        environ: the environment of the caller; None for this process's.
        timeout_s: how long one program may take.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, timeout_s: float = 20.0
    ) -> None:
        environ = dict(os.environ if environ is None else environ)
        self._runner = Runner({**query_environment(environ), "TZ": "UTC"}, (), timeout_s)

    def waiting(self) -> list[WaitingJob]:
        """Return the jobs that wait, array tasks one by one.

        Raises:
            SlurmError: Slurm does not answer.
        """
        argv = ["squeue", "--noheader", "--array", "--states=PD", f"--format={_FORMAT}"]
        return read_waiting(self._runner.check(argv))

    def nodes(self) -> tuple[DeclaredNode, ...]:
        """Return every node.

        Raises:
            SlurmError: Slurm does not answer.
        """
        printed = self._runner.check(["scontrol", "--all", "--oneliner", "show", "nodes"])
        return read_inventory({"nodes": printed}).nodes

    def give_up(self, host: str, reason: str, *, keep_down: bool) -> None:
        """Tell that a node did not start: its jobs are requeued, and it is tried again later.

        Args:
            host: the node.
            reason: why, for people.
            keep_down: leave it down, until somebody resumes it.

        Raises:
            SlurmError: Slurm refuses, or does not answer.
        """
        name = f"NodeName={host}"
        words = " ".join(reason.split())[:_MAX_REASON]
        # DOWN requeues the jobs that wait for it (slurm.conf(5), ResumeProgram).
        self._runner.check(["scontrol", "update", name, "State=DOWN", f"Reason={words}"])
        # Only then: it would cancel jobs, not requeue them.
        self._runner.check(["scontrol", "update", name, "State=POWER_DOWN_FORCE"])
        if not keep_down:
            # Powered down it stays DOWN, and no job could make Slurm start it again.
            self._runner.check(["scontrol", "update", name, "State=RESUME"])
