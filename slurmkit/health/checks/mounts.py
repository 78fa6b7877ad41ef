"""Is everything mounted that jobs need?"""

import os

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped
from slurmkit.health.mounted import mounts_of
from slurmkit.health.verdict import DRAIN

TIMEOUT_S = 3.0


def _look(node: Node) -> Found:
    if not node.mounts:
        return skipped("the site names no mounts")
    mounted = {mount.point for mount in mounts_of(node)}
    bad = []
    for path in map(os.path.normpath, node.mounts):
        if path not in mounted:
            bad.append(f"{path} is not mounted")
            continue
        try:
            os.statvfs(node.root / path.lstrip("/"))
        except OSError as error:
            bad.append(f"{path}: {error.strerror}")
    return fail("; ".join(bad)) if bad else passed(f"{len(node.mounts)} mounts")


CHECK = Check(
    id="mounts",
    reads="/proc/mounts, and the file systems that the site names (`health.mounts`)",
    limits=f"fails when one is not mounted, is stale, or does not answer within {TIMEOUT_S:g} s",
    action=DRAIN,
    function=_look,
    blocking=True,
    timeout_s=TIMEOUT_S,
    advice="Mount it, and see why it was not: the server, the network, or the order in which the "
    "node starts its services. slurmd should start after it.",
)
