"""Nodes of the cluster: what state they are in and why, draining them, and moving their jobs."""

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slurmkit.errors import RefusedError, SlurmError
from slurmkit.slurm import normalise
from slurmkit.slurm.environ import query_environment
from slurmkit.slurm.runner import Runner

_STATE = re.compile(r"^\s+State=(\S+)", re.MULTILINE)
# "Reason=words [user@2026-11-21T15:10:27]", the rest of its line; older releases end there.
_REASON = re.compile(r"^\s+Reason=(.*?)(?: \[(\S+)@([^\]\s]+)\])?\s*$", re.MULTILINE)
# Letters that sinfo puts behind a state (sinfo(1), NODE STATE CODES).
_MARKS = "*~#!%$@^-"
_LONG_STATES = {"drained": {"IDLE", "DRAIN"}, "draining": {"MIXED", "DRAIN"}}
_REQUEUE_POLL_S = 0.25
# What a requeued job does: its last life ends, it waits for its earliest start, it is on its way.
_ENDING, _HELD_BACK, _STARTED = "ending", "held back", "started"


@dataclass(frozen=True)
class NodeRecord:
    """One node.

    Attributes:
        name: as Slurm knows it.
        flags: its state and flags in upper case, such as IDLE and DRAIN.
        reason: why it is drained or down; empty for no reason.
        reason_by: who wrote that.
        reason_at: when, Unix seconds; 0 when unknown.
    """

    name: str
    flags: frozenset[str]
    reason: str = ""
    reason_by: str = ""
    reason_at: float = 0.0


@dataclass(frozen=True)
class NodeJob:
    """A job that runs on a node.

    Attributes:
        id: the job's own id, also for a task of an array.
        user: whose.
        can_requeue: whether it may be started again.
        batch: whether it has a batch script, and so can be.
    """

    id: str
    user: str
    can_requeue: bool
    batch: bool


class NodeControl:
    """Slurm as the health program of a node needs it.

    Args:
        environ: the environment of the caller; None for this process's.
        timeout_s: how long one program may take.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, timeout_s: float = 10.0
    ) -> None:
        environ = dict(os.environ if environ is None else environ)
        self._runner = Runner(query_environment(environ), (), timeout_s)

    def node(self, name: str) -> NodeRecord:
        """Return one node; slurmctld is asked about no other.

        Raises:
            SlurmError: Slurm does not know it, or does not answer.
        """
        return parse_node(name, self._runner.check(["scontrol", "show", "node", name]))

    def nodes(self) -> list[NodeRecord]:
        """Return all nodes, also hidden ones.

        Raises:
            SlurmError: Slurm does not answer.
        """
        argv = ["sinfo", "--all", "--noheader", "--Node", "--format=%N|%T|%u|%H|%E"]
        return parse_sinfo(self._runner.check(argv))

    def drain(self, name: str, reason: str) -> None:
        """Take a node out once its jobs have ended, or change why it is out.

        Raises:
            SlurmError: Slurm refuses, or does not answer.
        """
        words = [f"NodeName={name}", "State=DRAIN", f"Reason={reason}"]
        self._runner.check(["scontrol", "update", *words])

    def undrain(self, name: str) -> None:
        """Put a node back; one that is down besides stays down.

        Raises:
            SlurmError: Slurm refuses, or does not answer.
        """
        self._runner.check(["scontrol", "update", f"NodeName={name}", "State=UNDRAIN"])

    def jobs_on(self, name: str) -> list[NodeJob]:
        """Return the jobs that run on a node.

        Raises:
            SlurmError: Slurm does not answer.
        """
        argv = ["squeue", "--noheader", f"--nodelist={name}", "--states=R,S", "--format=%A %u"]
        found = []
        for line in self._runner.check(argv).splitlines():
            job_id, _, user = line.strip().partition(" ")
            said = self._runner.run(["scontrol", "--oneliner", "show", "job", job_id])
            words = set(said.stdout.split())
            if said.returncode == 0:  # else it has ended meanwhile
                found.append(NodeJob(job_id, user, "Requeue=1" in words, "BatchFlag=1" in words))
        return found

    def requeue(self, job_id: str) -> None:
        """End a job's script, and let Slurm start it again.

        Raises:
            RefusedError: Slurm does not requeue this job.
            SlurmError: Slurm does not answer.
        """
        output = self._runner.run(["scontrol", "requeue", job_id])
        if output.returncode != 0 or output.stderr.strip():
            if output.unreachable:
                raise output.error()
            raise RefusedError(f"Slurm does not requeue job {job_id}: {output.complaint}")

    def start_now(self, job_ids: Iterable[str], *, within_s: float) -> set[str]:
        """Let requeued jobs begin as soon as there is a place, without Slurm's two minutes.

        Requeueing sets the earliest start to when the job's old credential has run out (AuthInfo,
        cred_expire: 120 s); an operator may set it to now, and the new credential is taken (seen on
        22.05, 24.11 and 26.05). Before, what runs of the job has to end.

        Args:
            job_ids: the jobs.
            within_s: how long to wait for that, seconds.

        Returns:
            Those that are still ending.

        Raises:
            SlurmError: Slurm does not answer.
        """
        deadline = time.monotonic() + within_s
        waiting = set(job_ids)
        while waiting:
            states = {job_id: self._state(job_id) for job_id in waiting}
            waiting = {job_id for job_id, state in states.items() if state != _STARTED}
            self._begin([job_id for job_id in waiting if states[job_id] == _HELD_BACK])
            if not waiting or time.monotonic() > deadline:
                break
            time.sleep(_REQUEUE_POLL_S)
        return waiting

    def _begin(self, job_ids: Sequence[str]) -> None:
        """Set the earliest start of jobs to now."""
        if job_ids:
            # Not in the second in which their last lives ended: slurmd would take the new
            # credentials, whose time is in whole seconds, for the old ones, which were revoked, and
            # fail the jobs.
            time.sleep(1.0)
        for job_id in job_ids:
            self._runner.run(["scontrol", "update", f"JobId={job_id}", "StartTime=now"])

    def _state(self, job_id: str) -> str:
        """Return whether a requeued job still ends, is held back until later, or is on its way.

        The last is so when it runs, is over, or waits for something else than its earliest start.
        """
        output = self._runner.run(["scontrol", "--oneliner", "show", "job", job_id])
        said = output.stdout
        if output.returncode != 0:
            if output.unreachable:
                raise output.error()
            return _STARTED  # it is forgotten already
        if "Reason=BeginTime" in said:
            return _HELD_BACK
        if "JobState=PENDING" in said:
            return _ENDING if "Reason=None" in said else _STARTED
        return _ENDING if "JobState=COMPLETING" in said else _STARTED


def parse_node(name: str, printed: str) -> NodeRecord:
    """Return the node of ``scontrol show node``; only lines count, as reasons hold anything.

    Raises:
        SlurmError: there is no state in it.
    """
    state = _STATE.search(printed)
    if state is None:
        raise SlurmError(f"scontrol show node {name} printed no state")
    flags = frozenset(word.rstrip(_MARKS) for word in state[1].upper().split("+"))
    reason = _REASON.search(printed)
    if reason is None:
        return NodeRecord(name, flags)
    at = normalise.utc_time(reason[3] or "")
    return NodeRecord(name, flags, reason[1].strip(), reason[2] or "", at)


def parse_sinfo(printed: str) -> list[NodeRecord]:
    """Return each node of ``sinfo --Node --format=%N|%T|%u|%H|%E`` once."""
    found: dict[str, NodeRecord] = {}
    for line in printed.splitlines():
        parts = line.split("|", 4)
        if len(parts) < 5:
            continue
        name, state, by, at, reason = (part.strip() for part in parts)
        word = state.rstrip(_MARKS).lower()
        flags = frozenset(_LONG_STATES.get(word) or {word.upper()})
        if reason == "none":
            reason, by = "", ""
        found[name] = NodeRecord(name, flags, reason, by, normalise.utc_time(at))
    return list(found.values())
