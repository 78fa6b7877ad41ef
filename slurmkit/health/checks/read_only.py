"""Has the kernel made a file system read-only, as it does after errors of its disk?"""

from pathlib import PurePosixPath

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped, warn
from slurmkit.health.verdict import DRAIN

# File systems on disks of the node; images such as squashfs are read-only by design.
_ON_DISK = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})
_BY_DESIGN = ("/boot", "/efi", "/snap", "/nix", "/usr")


def _look(node: Node) -> Found:
    lines = node.read("proc/self/mounts").splitlines() or node.read("proc/mounts").splitlines()
    if not lines:
        return skipped("/proc/mounts cannot be read")
    bad, odd = [], []
    needed = str(node.local_dir)
    mounts = [line.split() for line in lines if len(line.split()) >= 4]
    # The last mount on a point is the one that is seen.
    seen = {words[1]: words for words in mounts}
    for point, words in seen.items():
        options = words[3].split(",")
        if words[2] not in _ON_DISK or "ro" not in options:
            continue
        if "errors=remount-ro" in options or point in ("/var", "/tmp", needed):  # noqa: S108
            bad.append(point)
        elif not PurePosixPath(point).as_posix().startswith(_BY_DESIGN) and point != "/":
            odd.append(point)
    if bad:
        return fail(f"read-only: {', '.join(bad)}")
    if odd:
        return warn(f"read-only, maybe on purpose: {', '.join(odd)}")
    return passed(f"{len(seen)} mounts")


CHECK = Check(
    id="read-only",
    reads="/proc/mounts",
    limits="warns of a read-only ext, xfs or btrfs file system; fails when it is /var, /tmp or the "
    "node-local folder, or one that is remounted read-only on errors",
    action=DRAIN,
    function=_look,
    advice="The kernel makes a file system read-only when its disk has errors: see `kernel-log` "
    "and `smartctl -a`. Repair or replace the disk before the node is used again.",
)
