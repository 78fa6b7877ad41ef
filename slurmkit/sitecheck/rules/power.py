"""Nodes that are started and stopped, and nodes that come back."""

from functools import partial

from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster
from slurmkit.sitecheck.registry import Problems, rule

fault = partial(registry.fault, group="Power saving")

PROGRAMS = fault(
    "power-programs",
    "Nodes are to be stopped after a while, and a program to stop or start them is missing.",
    "Set SuspendProgram and ResumeProgram.",
)
TIMEOUT = fault(
    "resume-timeout",
    "ResumeTimeout is shorter than a boot takes, so that nodes go down while they start.",
    "Set ResumeTimeout to what a boot takes, twice.",
)
CLOUD = fault(
    "cloud-without-programs",
    "A node is CLOUD, and nothing can start it.",
    "Set ResumeProgram and SuspendProgram.",
)
EXCLUDED = fault(
    "suspend-partition", "SuspendExcParts names a partition that there is not.", "Mend the name."
)
RETURN = fault(
    "return-to-service",
    "ReturnToService=0 leaves every node that was rebooted down until somebody resumes it.",
    "Set ReturnToService=2 where nodes are started and stopped; keep nodes out by draining them.",
    warning=True,
)


@rule
def saving(cluster: Cluster) -> Problems:
    """Whether nodes that are stopped can be started."""
    slurm = cluster.slurm
    time = slurm.pair("SuspendTime")
    on = time is not None and time.value.lower() not in ("-1", "infinite", "none", "no")
    on = on or any(line.value("SuspendTime") for line in cluster.partitions)
    missing = [name for name in ("SuspendProgram", "ResumeProgram") if not slurm.pair(name)]
    if on and time and missing:
        yield PROGRAMS(f"SuspendTime={time.value} and no {missing[0]}", time.where)
    for line in cluster.nodes:
        state = line.values.get("state")
        if state and state.value.upper().startswith("CLOUD") and missing:
            yield CLOUD(f"State=CLOUD and no {missing[0]}", state.value_where, key="State")
            break
    timeout = slurm.pair("ResumeTimeout")
    if timeout and on and (slurm.number("ResumeTimeout") or 0) < 10:
        yield TIMEOUT(f"ResumeTimeout={timeout.value} seconds", timeout.value_where)
    names = {name for line in cluster.partitions for name in line.name.value.split(",")}
    for word, where in slurm.words("SuspendExcParts"):
        if word not in names:
            yield EXCLUDED(f"there is no partition {word}", where, key="SuspendExcParts")
    back = slurm.pair("ReturnToService")
    if back and back.value == "0" and on:
        message = "ReturnToService=0, and nodes are stopped and started"
        yield RETURN(message, back.value_where, key="ReturnToService")
