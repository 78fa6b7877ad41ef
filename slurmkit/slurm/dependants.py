"""Jobs that wait for another one, when that one hands over to a successor.

A dependency names a job. Once the run that it means goes on in another job, the first one ends as
failed, and Slurm would remove whoever waits for its success; so these are told of the new job.
"""

import os
import re
from collections.abc import Mapping

from slurmkit.slurm.environ import query_environment
from slurmkit.slurm.runner import Runner

_TIMEOUT_S = 10.0
# What squeue puts behind each job: afterok:12(unfulfilled).
_STATE = re.compile(r"\([^()]*\)")


def redirect(former: str, successor: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Let the user's pending jobs that wait for one job wait for another; return their ids.

    Args:
        former: the job that hands over; of an array nothing can be redirected, because only some
            of its elements do.
        successor: the job that goes on.
        environ: the environment of the caller; None for this process's.

    Raises:
        SlurmError: Slurm refuses, or does not answer.
    """
    if "_" in former:
        return []
    runner = Runner(query_environment(os.environ if environ is None else environ), (), _TIMEOUT_S)
    # %F: of an array the whole array's id.
    listed = runner.check(["squeue", "--me", "--noheader", "--states=PENDING", "--format=%F|%E"])
    waiting = dict(line.strip().split("|", 1) for line in listed.splitlines() if "|" in line)
    changed = []
    for job_id, dependency in waiting.items():
        wanted = redirected(dependency, former, successor)
        if wanted != _STATE.sub("", dependency):
            runner.check(["scontrol", "update", f"JobId={job_id}", f"Dependency={wanted}"])
            changed.append(job_id)
    return changed


def redirected(dependency: str, former: str, successor: str) -> str:
    """Return a dependency as squeue shows it with one job in the place of another."""
    plain = _STATE.sub("", dependency)
    # Behind a colon, whole; 12_3 is another job's element, and +5 a delay in minutes.
    return re.sub(rf":{re.escape(former)}(?=[:,?+]|$)", f":{successor}", plain)
