"""Does a process of an earlier job still hold a GPU?"""

import os
import re
from pathlib import Path

from slurmkit.health.check import Check, Found, Node, passed, skipped, warn
from slurmkit.health.processes import job_of, pids, running_jobs, state_of
from slurmkit.health.verdict import NOTE

_DEVICE = re.compile(r"/dev/nvidia\d+")
# Names of the driver's and of DCGM's daemons, of which the kernel keeps 15 letters: they hold each
# GPU for as long as the node is up.
_DAEMONS = frozenset(
    name[:15]
    for name in ("nvidia-persistenced", "nv-fabricmanager", "nv-hostengine", "dcgm-exporter")
)
_MOST = 8


def _look(node: Node) -> Found:
    if not any(re.fullmatch(r"nvidia\d+", name) for name in node.names("dev")):
        return skipped("the node has no NVIDIA GPU")
    holds = {pid: _holds_gpu(node.root / "proc" / pid) for pid in pids(node)}
    jobs = {pid: job_of(node, pid) or "" for pid, held in holds.items() if held}
    # A prolog looks here, too, where mostly nobody holds any.
    running = {node.job_id, *running_jobs(node)} - {""} if jobs else set()
    strays = [
        f"{pid} (job {job or 'none'}, state {state_of(node, pid)[0]})"
        for pid, job in jobs.items()
        if job not in running and node.read(f"proc/{pid}/comm") not in _DAEMONS
    ]
    if strays:
        return warn(f"processes that hold a GPU: {', '.join(strays[:_MOST])}")
    looked = sum(held is not None for held in holds.values())
    return passed(f"{looked} processes looked at")


def _holds_gpu(folder: Path) -> bool | None:
    """Whether a process has a GPU open; None when we may not know."""
    try:
        descriptors = list((folder / "fd").iterdir())
    except OSError:
        return None
    for descriptor in descriptors:
        try:
            if _DEVICE.fullmatch(os.readlink(descriptor)):  # noqa: PTH115 (text, not a path)
                return True
        except OSError:  # it was closed meanwhile
            continue
    return False


CHECK = Check(
    id="gpu-strays",
    reads="open files of the processes that the user may look at, and the job in their environment",
    limits="warns of a process that has a GPU open and belongs to no job, or to one that has no "
    "slurmstepd on the node any more; the driver's own daemons do not count",
    action=NOTE,
    function=_look,
    blocking=True,
    advice="End them: their memory is missing to the next job. One in state D cannot be ended; "
    "reboot.",
)
