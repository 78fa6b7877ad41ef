"""Is there room in the node's own folder for temporary files?"""

import os

from slurmkit.health.check import Check, Found, Node, Threshold, fail, passed, warn
from slurmkit.health.verdict import REFUSE

WARN_SHARE = 0.05
FAIL_BYTES = 100 << 20


def _look(node: Node) -> Found:
    try:
        found = os.statvfs(node.local_dir)
    except OSError as error:
        return fail(f"{node.local_dir}: {error.strerror}")
    free = found.f_bavail * found.f_frsize
    total = found.f_blocks * found.f_frsize
    detail = f"{node.local_dir}: {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < node.thresholds["fail_mib"] * 2**20:
        return fail(detail)
    if found.f_files and found.f_favail == 0:
        return fail(f"{node.local_dir}: no inode is free")
    low = free < node.thresholds["warn_share"] * total
    return warn(detail) if low else passed(detail)


CHECK = Check(
    id="local-disk",
    reads="free space and inodes of the node-local folder (`SLURMKIT_LOCAL_DIR`, by default /tmp)",
    limits=f"warns below {WARN_SHARE:.0%} free; fails below {FAIL_BYTES >> 20} MiB or without an "
    "inode",
    action=REFUSE,
    function=_look,
    blocking=True,
    thresholds=(
        Threshold("warn_share", WARN_SHARE, "warns below this share of the disk"),
        Threshold("fail_mib", FAIL_BYTES / 2**20, "fails below so many MiB"),
    ),
    advice="See what jobs that have ended left there; an epilog should remove it.",
)
