"""Do processes of jobs that have ended still run?"""

import os

from slurmkit.health.check import FULL, Check, Found, Node, passed, skipped, warn
from slurmkit.health.processes import job_of, pids, running_jobs
from slurmkit.health.verdict import NOTE

_MOST = 8


def _look(node: Node) -> Found:
    jobs = {pid: job_of(node, pid) for pid in pids(node) if int(pid) != os.getpid()}
    looked = sum(job is not None for job in jobs.values())
    if not looked:
        return skipped("no other process may be looked at")
    running = running_jobs(node)
    strays = [
        f"{pid} {node.read(f'proc/{pid}/comm')} (job {job})"
        for pid, job in jobs.items()
        if job and job not in running
    ]
    return warn(", ".join(strays[:_MOST])) if strays else passed(f"{looked} processes looked at")


CHECK = Check(
    id="stray-processes",
    reads="the job in the environment of each process, and the slurmstepd of each job that runs",
    limits="warns of a process whose job has no slurmstepd on the node any more",
    action=NOTE,
    function=_look,
    level=FULL,
    blocking=True,
    advice="Programs that leave their session escape from proctrack/linuxproc and pgid; "
    "ProctrackType=proctrack/cgroup ends them. slurmkit's epilog does, too.",
)
