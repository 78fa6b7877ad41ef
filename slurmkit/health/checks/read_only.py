"""Has the kernel made a file system read-only, as it does after errors of its disk?"""

from slurmkit.health.check import Check, Found, Node, fail, passed, skipped, warn
from slurmkit.health.mounted import mounts_of
from slurmkit.health.verdict import DRAIN

# File systems on disks of the node; images such as squashfs are read-only by design.
_ON_DISK = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})
_BY_DESIGN = ("/boot/", "/efi/", "/snap/", "/nix/", "/usr/")


def _look(node: Node) -> Found:
    # The last mount on a point is the one that is seen.
    seen = {mount.point: mount for mount in mounts_of(node)}
    if not seen:
        return skipped("/proc/mounts cannot be read")
    bad, odd = [], []
    needed = ("/var", "/tmp", str(node.local_dir))  # noqa: S108 (it is looked for, not written to)
    for point, mount in seen.items():
        if mount.kind not in _ON_DISK or "ro" not in mount.options:
            continue
        if "errors=remount-ro" in mount.options or point in needed:
            bad.append(point)
        elif point != "/" and not f"{point}/".startswith(_BY_DESIGN):
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
