"""Can a file be written durably on the shared file system, and how long does it take?"""

import os
import time

from slurmkit.health.check import Check, Found, Node, Threshold, fail, passed, skipped, warn
from slurmkit.health.verdict import REFUSE

WARN_S = 1.0
TIMEOUT_S = 5.0


def _look(node: Node) -> Found:
    folder = node.shared_dir
    if folder is None:
        return skipped("no shared folder was named")
    path = folder / f".health-{os.uname().nodename}-{os.getpid()}"
    started = time.monotonic()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"x" * 4096)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink()
    except OSError as error:
        return fail(f"{folder}: {error.strerror}")
    took_s = time.monotonic() - started
    detail = f"{folder}: 4 KiB written and synced in {took_s * 1000:.0f} ms"
    return warn(detail) if took_s > node.thresholds["warn_s"] else passed(detail)


CHECK = Check(
    id="shared-folder",
    reads="a file of 4 KiB, written, synced and removed in the run directory",
    limits=f"warns when it takes more than {WARN_S:g} s; fails when it cannot be written, or not "
    f"within {TIMEOUT_S:g} s",
    action=REFUSE,
    function=_look,
    blocking=True,
    timeout_s=TIMEOUT_S,
    thresholds=(Threshold("warn_s", WARN_S, "warns when it takes longer, seconds"),),
    advice="See whether other nodes are slow, too: then it is the file server or the network.",
)
