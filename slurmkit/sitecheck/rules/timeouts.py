"""Timeouts that contradict each other."""

from functools import partial

from slurmkit.sitecheck import registry
from slurmkit.sitecheck.config import Cluster, number
from slurmkit.sitecheck.registry import Problems, rule

fault = partial(registry.fault, group="Timeouts")

SLURMD = fault(
    "slurmd-timeout",
    "SlurmdTimeout is shorter than the answer to one message may take, so that busy nodes go down.",
    "Set SlurmdTimeout to several times MessageTimeout; 300 is the default.",
)
CTLD = fault(
    "slurmctld-timeout",
    "SlurmctldTimeout is shorter than the answer to one message may take.",
    "Set it to several times MessageTimeout; 120 is the default.",
)
KILL = fault(
    "kill-wait",
    "KillWait is longer than SlurmdTimeout: a node counts as lost before its jobs have ended.",
    "Set KillWait below SlurmdTimeout; 30 is the default.",
)
UNKILLABLE = fault(
    "unkillable-timeout",
    "UnkillableStepTimeout is less than five times MessageTimeout (slurm.conf(5), from 24.05 on).",
    "Raise it; nodes go down with KillTaskFailed otherwise.",
)
EPILOG = fault(
    "epilog-time",
    "At EpilogMsgTime microseconds each, the epilogs of all nodes take longer than a message may.",
    "Lower EpilogMsgTime, or raise MessageTimeout.",
    warning=True,
)
MIN_AGE = fault(
    "min-job-age",
    "Jobs are forgotten so soon that who waits for them may not see how they ended.",
    "Set MinJobAge=300, or 0 to keep them.",
    warning=True,
)
HEALTH = fault(
    "health-check",
    "HealthCheckProgram and HealthCheckInterval are of use together only.",
    "Set both.",
    warning=True,
)
HEALTH_TIME = fault(
    "health-check-timeout",
    "HealthCheckTimeout, 60 by default, is not less than HealthCheckInterval (Slurm 26.05).",
    "Set HealthCheckTimeout below HealthCheckInterval.",
)
BATCH = fault(
    "batch-start-timeout",
    "BatchStartTimeout is shorter than a prolog may take.",
    "Set it above PrologEpilogTimeout.",
)
INACTIVE = fault(
    "inactive-limit",
    "InactiveLimit ends jobs whose srun is silent for less time than one message may take.",
    "Set InactiveLimit=0.",
)


@rule
def order(cluster: Cluster) -> Problems:
    """Whether what must be longer is longer."""
    slurm = cluster.slurm
    message_s = slurm.number("MessageTimeout", 10) or 10
    pairs = (
        ("SlurmdTimeout", SLURMD, 300, message_s),
        ("SlurmctldTimeout", CTLD, 120, message_s),
        ("InactiveLimit", INACTIVE, 0, message_s),
    )
    for name, broken, default, least in pairs:
        value, place = slurm.number(name, default), slurm.pair(name) or slurm.pair("MessageTimeout")
        if value and place and value < least:
            message = f"{name}={value} and MessageTimeout={message_s}"
            yield broken(message, place.value_where, key=name)
    down_s, kill_s = slurm.number("SlurmdTimeout", 300) or 0, slurm.number("KillWait", 30) or 0
    kill = slurm.pair("KillWait") or slurm.pair("SlurmdTimeout")
    if down_s and kill and kill_s > down_s:
        message = f"KillWait={kill_s} and SlurmdTimeout={down_s}"
        yield KILL(message, kill.value_where, key="KillWait")
    unkillable = slurm.pair("UnkillableStepTimeout")
    limit = slurm.number("UnkillableStepTimeout")
    if unkillable and limit is not None and limit < 5 * message_s:
        message = f"UnkillableStepTimeout={limit} and MessageTimeout={message_s}"
        problem = UNKILLABLE(message, unkillable.value_where, key=unkillable.key)
        # Before, slurmctld does not mind (measured at 22.05 and 24.11), and nodes go down as well.
        yield problem.replace(warning=not cluster.release.at_least("24.05"))
    age = slurm.pair("MinJobAge")
    if age and 0 < (slurm.number("MinJobAge") or 0) < 10:
        yield MIN_AGE(f"MinJobAge={age.value} seconds", age.value_where, key="MinJobAge")


@rule
def programs(cluster: Cluster) -> Problems:
    """Whether programs get the time they need."""
    slurm = cluster.slurm
    interval, program = slurm.pair("HealthCheckInterval"), slurm.pair("HealthCheckProgram")
    if interval and interval.value != "0" and program is None:
        message = f"HealthCheckInterval={interval.value} and no HealthCheckProgram"
        yield HEALTH(message, interval.where, key="HealthCheckInterval")
    if program and slurm.number("HealthCheckInterval", 0) == 0:
        place = interval or program
        yield HEALTH("HealthCheckProgram, and HealthCheckInterval is 0", place.where)
    limit = slurm.number("HealthCheckTimeout", 60) or 0
    if (
        interval
        and cluster.release.at_least("26.05")
        and 0 < (number(interval.value) or 0) <= limit
    ):
        place = slurm.pair("HealthCheckTimeout") or interval
        message = f"HealthCheckTimeout={limit} and HealthCheckInterval={interval.value}"
        yield HEALTH_TIME(message, place.value_where, key=place.key)


@rule
def durations(cluster: Cluster) -> Problems:
    """Whether prologs and epilogs get the time that they are given elsewhere."""
    slurm = cluster.slurm
    batch = slurm.pair("BatchStartTimeout")
    prolog_s = slurm.number("PrologTimeout", slurm.number("PrologEpilogTimeout", 0)) or 0
    if batch and (slurm.number("BatchStartTimeout") or 0) < prolog_s:
        message = f"BatchStartTimeout={batch.value}, and a prolog may take {prolog_s}"
        yield BATCH(message, batch.value_where, key="BatchStartTimeout")
    epilog = slurm.pair("EpilogMsgTime")
    each_us = slurm.number("EpilogMsgTime", 2000) or 0
    all_s = each_us * len(cluster.by_node) / 1e6
    message_s = slurm.number("MessageTimeout", 10) or 10
    if epilog and all_s > message_s:
        message = f"{each_us} µs x {len(cluster.by_node)} nodes is {all_s:.0f} s"
        yield EPILOG(message, epilog.value_where, key="EpilogMsgTime")
