"""Is the shared folder there, writable, the same for all, and quick?

Each host writes a file of its own and waits until it sees those of all others; then it reads the
next one's. A folder of that name on the node's own disk, or an export of another server, shows.
"""

import os
import time
from pathlib import Path

from slurmkit.doctor.link import Answer, Link, Place, fail, passed, skipped, warn
from slurmkit.health.mounted import mounts_of

_MAX_BYTES, _MIN_BYTES = 8 << 20, 256 << 10
# A thousand hosts must not be a storm of their own.
_ALL_BYTES = 512 << 20
_SLOW_MBS, _SLOW_S = 20.0, 1.0
_POLL_S = 0.1
PREFIX = ".slurmkit-doctor-"


def _look(place: Place) -> Answer:
    if not place.shared_dir:
        return skipped("no shared folder was named (--shared)")
    shared = Path(place.shared_dir)
    if not shared.is_dir():
        return fail(f"{shared} is not there")
    folder = shared / f"{PREFIX}{place.token}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        size_bytes = max(_MIN_BYTES, min(_MAX_BYTES, _ALL_BYTES // len(place.hosts)))
        write_s = _write(folder / place.host, size_bytes)
    except OSError as error:
        return fail(f"{error.filename or folder}: {error.strerror}")
    facts = {"file system": _file_system(place, shared)}
    unseen = _wait_for(folder, place)
    if unseen:
        return fail(
            f"does not see the file of {', '.join(unseen[:8])} in {shared}",
            facts,
            todo="see that it is mounted on all of them, from the same server (findmnt); a folder "
            "of the same name on a node's own disk looks alike",
        )
    target = place.others[0] if place.others else place.host
    read_s = _read(folder / target)
    writing, reading = (size_bytes / 1e6 / seconds for seconds in (write_s, read_s))
    detail = f"{facts['file system']}, writes {writing:.0f} MB/s, reads {reading:.0f} MB/s"
    if min(writing, reading) < _SLOW_MBS and max(write_s, read_s) > _SLOW_S:
        return warn(
            detail, facts, todo="look at the server's load and at the mount's options (nfsstat -m)"
        )
    return passed(detail, facts)


def _write(path: Path, size_bytes: int) -> float:
    """Write a file durably; return how long it took, seconds."""
    data = os.urandom(_MIN_BYTES)
    started = time.monotonic()
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        for _ in range(size_bytes // len(data)):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    return max(1e-6, time.monotonic() - started)


def _wait_for(folder: Path, place: Place) -> list[str]:
    """Return the hosts whose files do not appear in time."""
    deadline = time.monotonic() + place.wait_s
    while True:
        # Opening the folder makes an NFS client ask the server again.
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        there = set(os.listdir(folder))  # noqa: PTH208 (names are all that is asked)
        unseen = [host for host in place.hosts if host not in there]
        if not unseen or time.monotonic() > deadline:
            return unseen
        time.sleep(_POLL_S)


def _read(path: Path) -> float:
    started = time.monotonic()
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
    return max(1e-6, time.monotonic() - started)


def _file_system(place: Place, folder: Path) -> str:
    """Return type and source of the mount that a folder lies in, behind symbolic links."""
    real = folder.resolve()
    inside = [mount for mount in mounts_of(place.node) if real.is_relative_to(mount.point)]
    if not inside:
        return "unknown"
    # Of two on the same folder, the later one is seen.
    best = max(enumerate(inside), key=lambda item: (len(item[1].point), item[0]))[1]
    named = "/" in best.source or ":" in best.source
    return f"{best.kind} from {best.source}" if named else best.kind


LINK = Link(
    id="shared",
    group="storage",
    reads="a file of 8 MiB (less for many hosts) that each host writes into the shared folder, and "
    "that of the next host",
    limits=f"fails when the folder is missing, cannot be written, hangs, or shows not the files of "
    f"all hosts; warns below {_SLOW_MBS:g} MB/s when it takes over {_SLOW_S:g} s; fails when nodes "
    "differ in file system or source",
    todo="mount it (findmnt, dmesg), and see that you may write there",
    look=_look,
    timeout_s=60.0,
)
