"""The processes of a node as /proc shows them, for the checks that look for those of jobs."""

import re

from slurmkit.health.check import Node

_STEPD = re.compile(r"slurmstepd: \[(\d+)\.")
_JOB = b"SLURM_JOB_ID="
_STATE, _START = 0, 19  # fields of /proc/PID/stat behind the name (proc(5))


def pids(node: Node) -> list[str]:
    """Return the process ids of a node."""
    return [name for name in node.names("proc") if name.isdigit()]


def command_of(node: Node, pid: str) -> list[str]:
    """Return the words of a process's command line; an empty one for the kernel's own."""
    return node.read(f"proc/{pid}/cmdline").rstrip("\0").split("\0")


def state_of(node: Node, pid: str) -> tuple[str, int]:
    """Return a process's state, such as S, and when it was started, in ticks since the node was."""
    fields = node.read(f"proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[_STATE] if fields else "", int(fields[_START]) if len(fields) > _START else 0)


def job_of(node: Node, pid: str) -> str | None:
    """Return the job that a process says it belongs to; None when we may not know."""
    try:
        data = (node.root / "proc" / pid / "environ").read_bytes()
    except OSError:
        return None
    found = (entry for entry in data.split(b"\0") if entry.startswith(_JOB))
    return next(found, _JOB).removeprefix(_JOB).decode("ascii", "replace")


def running_jobs(node: Node) -> set[str]:
    """Return the jobs that have a slurmstepd on the node."""
    titles = (_STEPD.match(" ".join(command_of(node, pid))) for pid in pids(node))
    return {title[1] for title in titles if title}
