"""What elastic capacity asks and tells Slurm: jobs that wait, and nodes that did not start."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from slurmkit.slurm import normalise
from slurmkit.slurm.cluster import gpus_of_gres
from slurmkit.slurm.environ import query_environment
from slurmkit.slurm.inventory import DeclaredNode, read_inventory
from slurmkit.slurm.runner import Runner
from slurmkit.units import parse_duration_s

#: Fields of squeue(1), --Format, and how many characters of each are of use.
_FIELDS = {
    "JobArrayID": 40,
    "Partition": 300,
    "Reason": 200,
    "NumNodes": 20,
    "NumCPUs": 20,
    "NumTasks": 20,
    "tres-per-node": 100,
    "tres-per-job": 100,
    "tres-per-task": 100,
    "TimeLimit": 30,
    "SubmitTime": 30,
    "PriorityLong": 20,
    "OverSubscribe": 20,
    # In 26.05 a field of its own, and OverSubscribe is NO for every job; 22.05 and 24.11 leave an
    # empty column for a field that they do not know.
    "Exclusive": 20,
}
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
    rows = [line.split("|") for line in printed.splitlines()]
    jobs = [
        _job(dict(zip(_FIELDS, (cell.strip() for cell in row), strict=False)))
        for row in rows
        if len(row) > len(_FIELDS)
    ]
    return sorted(jobs, key=lambda job: (-job.priority, job.submitted))


def _job(row: Mapping[str, str]) -> WaitingJob:
    num_nodes = normalise.limit(row["NumNodes"].partition("-")[0]) or 1
    num_tasks = normalise.limit(row["NumTasks"]) or 1
    per_job = _gpus(row["tres-per-job"]) + _gpus(row["tres-per-task"]) * num_tasks
    return WaitingJob(
        id=row["JobArrayID"],
        partitions=tuple(row["Partition"].split(",")),
        reason=row["Reason"],
        num_nodes=num_nodes,
        num_cpus=normalise.limit(row["NumCPUs"]) or 1,
        gpus_per_node=max(_gpus(row["tres-per-node"]), math.ceil(per_job / num_nodes)),
        limit_s=_seconds(row["TimeLimit"]),
        submitted=normalise.utc_time(row["SubmitTime"]),
        exclusive=row["Exclusive"] == "NODE" if row["Exclusive"] else row["OverSubscribe"] == "NO",
        priority=normalise.limit(row["PriorityLong"]) or 0,
    )


def _gpus(tres: str) -> int:
    """Return the GPUs of ``gres:gpu:h100:4`` (22.05), ``gres/gpu:4`` or ``gres/gpu=4``."""
    return gpus_of_gres(re.sub(r"gres[:/]", "", tres).replace("=", ":"))[0]


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
        columns = ",".join(f"{name}:{width}|" for name, width in _FIELDS.items())
        argv = ["squeue", "--noheader", "--array", "--states=PD", f"--Format={columns}"]
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
