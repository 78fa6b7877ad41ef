"""Do all nodes have the same cgroups?"""

from slurmkit.doctor.link import Answer, Link, Place, passed, skipped
from slurmkit.health.mounted import mounts_of
from slurmkit.health.verdict import WARN


def _look(place: Place) -> Answer:
    mounts = mounts_of(place.node)
    kinds = {mount.kind for mount in mounts if mount.kind.startswith("cgroup")}
    if not kinds:
        return skipped("no cgroups are mounted")
    name = {frozenset({"cgroup2"}): "v2", frozenset({"cgroup"}): "v1"}.get(
        frozenset(kinds), "v1 and v2"
    )
    return passed(name, {"cgroups": name})


LINK = Link(
    id="cgroup",
    group="resources",
    reads="the cgroup file systems in /proc/self/mounts",
    limits="warns when nodes differ",
    todo="start all nodes with the same systemd.unified_cgroup_hierarchy; Slurm's limits work "
    "differently on v1 and v2",
    look=_look,
    differs=WARN,
)
