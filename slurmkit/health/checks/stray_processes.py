"""Do processes of jobs that have ended still run?"""

import os
import re

from slurmkit.health.check import FULL, Check, Found, Node, passed, skipped, warn
from slurmkit.health.verdict import NOTE

_STEPD = re.compile(r"slurmstepd: \[(\d+)\.")
_MOST = 8


def _look(node: Node) -> Found:
    jobs: dict[str, list[str]] = {}
    running = set()
    looked = 0
    for pid in node.names("proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        command = node.read(f"proc/{pid}/cmdline").replace("\0", " ")
        if found := _STEPD.match(command):
            running.add(found[1])
            continue
        job = _job_of(node, pid)
        looked += job is not None
        if job:
            jobs.setdefault(job, []).append(f"{pid} {node.read(f'proc/{pid}/comm')}")
    if not looked:
        return skipped("no other process may be looked at")
    strays = [
        f"{text} (job {job})" for job, texts in jobs.items() if job not in running for text in texts
    ]
    return warn(", ".join(strays[:_MOST])) if strays else passed(f"{looked} processes looked at")


def _job_of(node: Node, pid: str) -> str | None:
    """Return the job that a process says it belongs to; None when we may not know."""
    try:
        data = (node.root / "proc" / pid / "environ").read_bytes()
    except OSError:
        return None
    for entry in data.split(b"\0"):
        if entry.startswith(b"SLURM_JOB_ID="):
            return entry[13:].decode("ascii", "replace")
    return ""


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
