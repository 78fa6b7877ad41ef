"""What holds jobs together on a node: process tracking, cgroups, binding, containers."""

from functools import partial

from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster
from slurmkit.sitecheck.registry import Problems, rule
from slurmkit.sitecheck.rules.gres import claims

fault = partial(registry.fault, group="Processes and cgroups")

TRACK = fault(
    "track-by-group",
    "proctrack/pgid loses processes that start a session of their own.",
    "Set ProctrackType=proctrack/cgroup.",
    warning=True,
)
TASK = fault(
    "constrain-without-task",
    "cgroup.conf constrains jobs, and TaskPlugin has no task/cgroup that does it.",
    "Set TaskPlugin=task/cgroup,task/affinity.",
)
TASK_CGROUP = fault(
    "cgroup-without-track",
    "task/cgroup and jobacct_gather/cgroup need proctrack/cgroup (slurm.conf(5)).",
    "Set ProctrackType=proctrack/cgroup.",
)
AFFINITY = fault(
    "no-affinity",
    "GPUs are given out, and no task plugin binds tasks to cores near them.",
    "Set TaskPlugin=task/cgroup,task/affinity.",
    warning=True,
)
DEVICES = fault(
    "devices-open",
    "GPUs are given out, and jobs can open those of others.",
    "Set ConstrainDevices=yes in cgroup.conf.",
    warning=True,
)
DISABLED = fault(
    "cgroup-disabled",
    "CgroupPlugin=disabled, and slurm.conf asks for cgroups.",
    "Remove CgroupPlugin=disabled, or ProctrackType=proctrack/cgroup and task/cgroup.",
)
PERCENT = fault(
    "cgroup-percent", "A share of memory is over or under what makes sense.", "Mend it."
)
CONTAINER = fault(
    "container-without-prolog",
    "JobContainerType needs PrologFlags=Contain.",
    "Add Contain to PrologFlags.",
)
CONTAINER_CONF = fault(
    "container-conf",
    "job_container/tmpfs needs job_container.conf with a BasePath.",
    "Add job_container.conf.",
)
X11 = fault(
    "x11-without-contain",
    "PrologFlags has NoHold with Contain or X11, which exclude each other (slurm.conf(5)).",
    "Remove NoHold.",
)

_CONSTRAIN = ("ConstrainCores", "ConstrainDevices", "ConstrainRAMSpace", "ConstrainSwapSpace")


@rule
def tracking(cluster: Cluster) -> Problems:
    """Whether plugins that need each other are there."""
    slurm, cgroup = cluster.slurm, cluster.conf("cgroup.conf")
    track = slurm.pair("ProctrackType")
    name = slurm.value("ProctrackType", "proctrack/cgroup").removeprefix("proctrack/")
    if track and name == "pgid":
        yield TRACK("ProctrackType=proctrack/pgid", track.value_where, key="ProctrackType")
    tasks = {word.removeprefix("task/"): where for word, where in slurm.words("TaskPlugin")}
    gather = slurm.pair("JobAcctGatherType")
    if name != "cgroup":
        if "cgroup" in tasks:
            yield TASK_CGROUP(f"ProctrackType is proctrack/{name}", tasks["cgroup"])
        if gather and gather.value.endswith("cgroup"):
            yield TASK_CGROUP(f"ProctrackType is proctrack/{name}", gather.value_where)
    if cgroup is None:
        return
    for key in _CONSTRAIN:
        pair = cgroup.pair(key)
        if pair and cgroup.yes(key) and "cgroup" not in tasks:
            said = slurm.value("TaskPlugin", "not set")
            yield TASK(f"{key}=yes, and TaskPlugin is {said}", pair.where, key=key)
            break
    plugin = cgroup.pair("CgroupPlugin")
    asked = (track and name == "cgroup") or "cgroup" in tasks
    if plugin and asked and plugin.value.removeprefix("cgroup/") == "disabled":
        yield DISABLED("slurm.conf has proctrack/cgroup or task/cgroup", plugin.value_where)


@rule
def shares(cluster: Cluster) -> Problems:
    """Whether shares of memory make sense."""
    cgroup = cluster.conf("cgroup.conf")
    if cgroup is None:
        return
    for key, least, most in (
        ("AllowedRAMSpace", 1, 1000),
        ("AllowedSwapSpace", 0, 1000),
        ("MaxRAMPercent", 1, 100),
        ("MaxSwapPercent", 0, 100),
    ):
        pair = cgroup.pair(key)
        value = _float(pair.value) if pair else None
        if pair and value is not None and not least <= value <= most:
            yield PERCENT(f"{key}={pair.value}: {least} to {most}", pair.value_where, key=key)


def _float(text: str) -> float | None:
    try:
        return float(text.rstrip("%"))
    except ValueError:
        return None


@rule
def gpus(cluster: Cluster) -> Problems:
    """Whether GPUs are near their cores, and each job's own."""
    first = next((c for line in cluster.nodes for c in claims(line) if c.name == "gpu"), None)
    if first is None:
        return
    slurm, cgroup = cluster.slurm, cluster.conf("cgroup.conf")
    task = slurm.pair("TaskPlugin")
    names = {word.removeprefix("task/") for word, _ in slurm.words("TaskPlugin")}
    binds = cluster.release.at_least("23.11") and task is None  # affinity is the default then
    if "affinity" not in names and not binds and "none" not in names:
        place = task.value_where if task else first.where
        yield AFFINITY(f"TaskPlugin is {task.value if task else 'not set'}", place)
    if cgroup and "cgroup" in names and not cgroup.yes("ConstrainDevices"):
        pair = cgroup.pair("ConstrainDevices")
        lines = cgroup.lines
        place = pair.value_where if pair else (lines[0].where if lines else first.where)
        yield DEVICES("ConstrainDevices is not yes", place, key="ConstrainDevices")


@rule
def containers(cluster: Cluster) -> Problems:
    """Whether a private /tmp has what it needs."""
    slurm = cluster.slurm
    pair = slurm.pair("JobContainerType") or slurm.pair("NamespaceType")
    flags = {word.lower(): where for word, where in slurm.words("PrologFlags")}
    if pair and not pair.value.endswith("none"):
        if not {"contain", "x11"} & set(flags):
            yield CONTAINER(f"{pair.key}={pair.value}", pair.where, key=pair.key)
        named = ("job_container.conf", "namespace.conf", "namespace.yaml")
        if cluster.candidate.is_site and not any(cluster.candidate.conf(n) for n in named):
            yield CONTAINER_CONF(f"{pair.key}={pair.value}", pair.where, key=pair.key)
    if "nohold" in flags and {"contain", "x11"} & set(flags):
        yield X11("NoHold beside Contain or X11", flags["nohold"], key="PrologFlags")
