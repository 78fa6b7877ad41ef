"""What a running job asks and tells Slurm about itself: its end, its grace, its steps, requeue."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slurmkit.errors import RefusedError, SlurmError
from slurmkit.slurm import normalise
from slurmkit.slurm.environ import query_environment
from slurmkit.slurm.runner import Output, Runner
from slurmkit.slurm.states import JobId, JobKey, JobState, job_key

_KILL_WAIT = re.compile(r"^KillWait\s*=\s*(\d+)", re.MULTILINE)
_REQUEUES = re.compile(r"\bPreemptMode=\S*REQUEUE")
_GRACE_TIME = re.compile(r"\bGraceTime=(\d+)")
_MAX_REASON = 200
_ENDED = ("already completing or completed", "Invalid job id", "Job/step already")


@dataclass(frozen=True)
class RunningJob:
    """What Slurm says of a job that runs.

    Attributes:
        state: the state to show.
        base_state: the state below flags.
        partition: the partition that it runs in.
        nodes: the nodes that it has now, as a hostlist; fewer than at its start when Slurm has
            taken dead ones away.
        excluded: the nodes that its submitter excluded, as a hostlist.
        end_time: when its time limit, or the grace of a preemption, ends it; Unix seconds.
        preempted: whether it is being preempted.
    """

    state: JobState
    base_state: JobState
    partition: str = ""
    nodes: str = ""
    excluded: str = ""
    end_time: float | None = None
    preempted: bool = False


@dataclass(frozen=True)
class JobStep:
    """One running step.

    Attributes:
        id: how Slurm names it, such as ``12.3`` or ``12_4.0``.
        name: the step's name (srun --job-name).
        nodes: where it runs, as a hostlist.
    """

    id: str
    name: str
    nodes: str


class JobControl:
    """Slurm as the supervisor of a job needs it, by Slurm's own programs.

    Args:
        environ: the environment of the caller; None for this process's.
        timeout_s: how long one program may take.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, timeout_s: float = 10.0
    ) -> None:
        environ = dict(os.environ if environ is None else environ)
        self._runner = Runner(query_environment(environ), (), timeout_s)

    @property
    def present(self) -> bool:
        """Whether Slurm's programs are on PATH."""
        return self._runner.has("scontrol")

    def running_job(self, job: JobId) -> RunningJob:
        """Return what Slurm says of one job.

        Raises:
            SlurmError: it does not know the job, or does not answer.
        """
        key = job_key(job)
        argv = ["squeue", "--json", "--all", "--states=all", f"--jobs={key}"]
        output = self._runner.run(argv)
        if output.returncode != 0 or not output.stdout.strip():
            raise output.error()
        for row in normalise.read_rows(output.stdout, "jobs", "squeue --json"):
            if key in _names(row):  # 22.05 lists all jobs, whatever it is asked for
                return _running(row)
        raise SlurmError(f"Slurm does not know the job {key}")

    def grace_s(self, partition: str) -> float:
        """Return the seconds from TERM to KILL: the partition's GraceTime, else KillWait.

        slurm.conf(5): a preempted job has GraceTime, every other one KillWait.

        Raises:
            SlurmError: Slurm does not answer.
        """
        if partition:
            said = self._runner.check(["scontrol", "--oneliner", "show", "partition", partition])
            match = _GRACE_TIME.search(said)
            if match and int(match[1]):
                return float(match[1])
        match = _KILL_WAIT.search(self._runner.check(["scontrol", "show", "config"]))
        return float(match[1]) if match else 30.0

    def preemption_requeues(self, partition: str) -> bool:
        """Whether Slurm starts a job of a partition again that it has taken the nodes from.

        Raises:
            SlurmError: Slurm does not answer.
        """
        said = self._runner.check(["scontrol", "--oneliner", "show", "partition", partition])
        return bool(_REQUEUES.search(said))

    def steps(self, job: JobId) -> list[JobStep]:
        """Return the running steps of a job, without the batch script's own.

        Raises:
            SlurmError: Slurm does not answer.
        """
        argv = ["squeue", "--steps", "--noheader", f"--jobs={job_key(job)}", "--format=%i|%N|%j"]
        lines = self._runner.check(argv).splitlines()
        found = [line.strip().split("|", 2) for line in lines if line.count("|") >= 2]
        steps = [JobStep(step, name, nodes) for step, nodes, name in found]
        return [step for step in steps if step.id.rpartition(".")[2].isdigit()]

    def signal_step(self, step: str, signal: str) -> None:
        """Send a signal such as ``USR2`` to every task of a step; one that has ended is fine.

        Raises:
            SlurmError: Slurm refuses, or does not answer.
        """
        _settled(self._runner.run(["scancel", f"--signal={signal}", step]))

    def cancel_step(self, step: str) -> None:
        """Kill every task of a step; one that has ended is fine.

        The controller does it after it has answered. With ``--signal=KILL`` scancel itself would
        talk to each node, and wait for the dead one (seen on 22.05).

        Raises:
            SlurmError: Slurm refuses, or does not answer.
        """
        _settled(self._runner.run(["scancel", step]))

    def requeue(self, job: JobId) -> None:
        """Let Slurm start a job again; it ends the job's script in less than a second.

        Raises:
            RefusedError: the job or the site does not allow it.
            SlurmError: Slurm does not answer.
        """
        output = self._runner.run(["scontrol", "requeue", str(job_key(job))])
        if output.returncode == 0 and not output.stderr.strip():
            return
        if output.unreachable:
            raise output.error()
        said = output.complaint or output.stdout.strip()
        raise RefusedError(f"Slurm does not requeue job {job_key(job)}: {said}")

    def drain(self, node: str, reason: str) -> None:
        """Take a node out once its jobs have ended; only operators may.

        Raises:
            SlurmError: Slurm refuses, or does not answer.
        """
        words = [f"NodeName={node}", "State=DRAIN", f"Reason={reason[:_MAX_REASON]}"]
        self._runner.check(["scontrol", "update", *words])

    def batch_script(self, job: JobId) -> str:
        """Return the text of a job's batch script.

        Raises:
            SlurmError: Slurm does not have it, or does not answer.
        """
        return self._runner.check(["scontrol", "write", "batch_script", str(job_key(job)), "-"])

    def answers(self) -> bool:
        """Whether a controller answers."""
        return " is UP" in self._runner.run(["scontrol", "ping"]).stdout


def _names(row: Mapping[str, Any]) -> tuple[JobKey, ...]:
    """Return by what a job may be asked for."""
    array_id, task = (normalise.number(row.get(f"array_{name}")) for name in ("job_id", "task_id"))
    own = JobKey(int(row["job_id"]))
    return (own, JobKey(array_id, task)) if array_id else (own,)


def _running(row: Mapping[str, object]) -> RunningJob:
    state, base = normalise.job_state(row.get("job_state"))
    return RunningJob(
        state=state,
        base_state=base,
        partition=normalise.text(row.get("partition")),
        nodes=normalise.text(row.get("nodes")),
        excluded=normalise.text(row.get("excluded_nodes")),
        end_time=normalise.timestamp(row.get("end_time")),
        preempted=bool(normalise.timestamp(row.get("preempt_time"))),
    )


def _settled(output: Output) -> None:
    if output.returncode != 0 and not any(words in output.stderr for words in _ENDED):
        raise output.error()
