"""Is /dev/shm large enough for the ranks of a node?"""

import os

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, warn
from slurmkit.health.checks.shared_memory import FAIL_BYTES, WARN_BYTES
from slurmkit.health.verdict import WARN


def judge(size_bytes: int, free_bytes: int) -> Answer:
    """Return the answer for a /dev/shm of a size, of which so much is free."""
    facts = {"size": f"{size_bytes / 2**30:.1f} GiB"}
    detail = f"{size_bytes / 2**30:.1f} GiB, {free_bytes / 2**30:.1f} GiB free"
    if size_bytes <= FAIL_BYTES or free_bytes < FAIL_BYTES:
        return fail(detail, facts)
    if size_bytes < WARN_BYTES or free_bytes < size_bytes // 4:
        return warn(detail, facts)
    return passed(detail, facts)


def _look(place: Place) -> Answer:
    try:
        found = os.statvfs(place.root / "dev/shm")
    except OSError as error:
        return fail(f"it cannot be looked at: {error.strerror}")
    return judge(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


LINK = Link(
    id="shm",
    group="resources",
    reads="size and free space of /dev/shm",
    limits="fails at 64 MiB (the default of containers) or less, or with less free; warns below "
    "1 GiB, with less than a quarter free, or when nodes differ",
    todo="mount it with size=50%, remove what jobs left in it; NCCL, UCX and MPI keep the "
    "buffers between ranks of a node there",
    look=_look,
    differs=WARN,
)
