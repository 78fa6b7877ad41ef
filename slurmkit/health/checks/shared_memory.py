"""Can ranks of one node share memory? NCCL, MPI and data loaders do so in /dev/shm."""

import os

from slurmkit.health.check import Check, Found, Node, Threshold, fail, passed, warn
from slurmkit.health.verdict import REFUSE

FAIL_BYTES = 64 << 20
WARN_BYTES = 1 << 30


def _look(node: Node) -> Found:
    path = node.root / "dev/shm"
    try:
        found = os.statvfs(path)
    except OSError as error:
        return fail(f"{path}: {error.strerror}")
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    detail = f"{path}: {free >> 20} of {total >> 20} MiB free"
    if free < node.thresholds["fail_mib"] * 2**20 or not os.access(path, os.W_OK):
        return fail(detail)
    low = free < node.thresholds["warn_mib"] * 2**20
    return warn(detail) if low else passed(detail)


CHECK = Check(
    id="shared-memory",
    reads="free space of /dev/shm",
    limits=f"warns below {WARN_BYTES >> 30} GiB; fails below {FAIL_BYTES >> 20} MiB, which is what "
    "containers get by default, or when it cannot be written",
    action=REFUSE,
    function=_look,
    thresholds=(
        Threshold("warn_mib", WARN_BYTES / 2**20, "warns below so many MiB"),
        Threshold("fail_mib", FAIL_BYTES / 2**20, "fails below so many MiB"),
    ),
    advice="Files that ended jobs left in /dev/shm take it; an epilog should remove them. In a "
    "container, ask for a larger one.",
)
