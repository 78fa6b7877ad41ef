"""Does a process of an earlier job still hold a GPU?"""

import os
import re
from pathlib import Path

from slurmkit.health.check import Check, Found, Node, passed, skipped, warn
from slurmkit.health.verdict import NOTE

_DEVICE = re.compile(r"/dev/nvidia\d+")


def _look(node: Node) -> Found:
    if not any(re.fullmatch(r"nvidia\d+", name) for name in node.names("dev")):
        return skipped("the node has no NVIDIA GPU")
    strays = []
    looked = 0
    for name in node.names("proc"):
        if not name.isdigit():
            continue
        folder = node.root / "proc" / name
        held = _holds_gpu(folder)
        if held is None:
            continue
        looked += 1
        job_id = _job_of(folder)
        if held and job_id != node.job_id:
            state = node.read(f"proc/{name}/stat").rpartition(")")[2].split()[:1]
            strays.append(f"{name} (job {job_id or 'none'}, state {' '.join(state)})")
    if strays:
        return warn(f"processes that hold a GPU: {', '.join(strays[:8])}")
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


def _job_of(folder: Path) -> str:
    try:
        entries = (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    found = [entry[13:].decode() for entry in entries if entry.startswith(b"SLURM_JOB_ID=")]
    return found[0] if found else ""


CHECK = Check(
    id="gpu-strays",
    reads="open files of the processes that the user may look at, and the job in their environment",
    limits="warns of a process that has a GPU open and belongs to another job or to none",
    action=NOTE,
    function=_look,
    blocking=True,
    advice="End them: their memory is missing to the next job. One in state D cannot be ended; "
    "reboot.",
)
