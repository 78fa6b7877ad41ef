"""Checks of the partition itself: does it exist, does it take jobs, how long, from whom."""

from slurmkit.check.accounts import waives
from slurmkit.check.registry import About, Problems, on_cluster, per_partition
from slurmkit.check.subject import Subject, choices, listing
from slurmkit.limits import Limits, PartitionLimits
from slurmkit.units import format_slurm_time

_KEY = "resources.partition"


@on_cluster(
    About(
        "partition-unknown",
        "Every partition that is named exists on the cluster.",
        "the cluster has no partition 'gpuu'",
    )
)
def partition_unknown(subject: Subject, limits: Limits) -> Problems:
    """Find names that sbatch would refuse; one wrong name in a list is enough for that."""
    for name in subject.request.partitions:
        if name not in limits.partitions:
            yield subject.problem(
                "resources.partition",
                f"the cluster has no partition {name!r}{subject.origin('partition')}",
                choices("Partitions", name, limits.partitions),
            )


@on_cluster(
    About(
        "partition-missing",
        "A job that names no partition runs on a cluster with a default partition.",
        "no partition is named and the cluster has no default one",
    )
)
def partition_missing(subject: Subject, limits: Limits) -> Problems:
    """Find jobs that nobody would know where to run."""
    if not subject.request.partitions and not subject.candidates():
        yield subject.problem(
            _KEY,
            "no partition is named and the cluster has no default one",
            f"Name one of: {listing(limits.partitions)}.",
        )


@per_partition(
    About(
        "partition-closed",
        "The partition takes new jobs (its state is not DRAIN or INACTIVE).",
        "partition 'batch' takes no new jobs: its state is DRAIN",
    )
)
def partition_closed(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find partitions whose jobs sbatch refuses."""
    if partition.state in ("DRAIN", "INACTIVE"):
        yield subject.problem(
            _KEY,
            f"partition {partition.name!r} takes no new jobs: its state is {partition.state}",
            _open_partitions(subject),
        )


@per_partition(
    About(
        "partition-down",
        "The partition starts jobs (its state is not DOWN).",
        "partition 'batch' is DOWN: it starts no jobs, though sbatch queues them",
    )
)
def partition_down(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find partitions whose jobs wait until an administrator brings them up."""
    if partition.state == "DOWN":
        yield subject.problem(
            _KEY,
            f"partition {partition.name!r} is DOWN: it starts no jobs, though sbatch queues them",
            f"{_open_partitions(subject)} To queue it all the same, give the script that "
            "`slurmkit render` prints to sbatch.",
        )


def _open_partitions(subject: Subject) -> str:
    everywhere = subject.limits.partitions.values() if subject.limits else ()
    up = [partition.name for partition in everywhere if partition.state == "UP"]
    return f"Partitions that are up: {listing(up)}." if up else "No partition is up now."


@per_partition(
    About(
        "time-over-partition",
        "The time limit is at most the partition's.",
        "12:00:00 is more than partition 'batch' allows: 02:00:00",
    )
)
def time_over_partition(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find times that Slurm accepts, and then keeps pending for PartitionTimeLimit."""
    request, most_s = subject.request, partition.max_time_s
    if not request.names_time or most_s is None or waives(subject, "PartitionTimeLimit"):
        return
    if request.time_s is None or request.time_s > most_s:
        longer = [
            other.name
            for other in (subject.limits.partitions.values() if subject.limits else ())
            if other.max_time_s is None
            or (request.time_s is not None and other.max_time_s >= request.time_s)
        ]
        elsewhere = f"; longer jobs may go to: {listing(longer)}" if longer else ""
        yield subject.problem(
            "resources.time",
            f"{format_slurm_time(request.time_s)} is more than partition {partition.name!r} "
            f"allows: {format_slurm_time(most_s)}",
            f"Ask for at most {format_slurm_time(most_s)}{elsewhere}.",
        )


@per_partition(
    About(
        "time-missing",
        "A job that names no time gets a default one from its partition.",
        "no time is given and partition 'batch' has no default: the job asks for 7-00:00:00",
        warning=True,
    )
)
def time_missing(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find jobs that ask for the longest time there is, which no gap in the queue can take."""
    if subject.request.names_time or partition.default_time_s is not None:
        return
    got = (
        "has no limit either"
        if partition.max_time_s is None
        else f"asks for {format_slurm_time(partition.max_time_s)}"
    )
    yield subject.problem(
        "resources.time",
        f"no time is given and partition {partition.name!r} has no default: the job {got}",
        "Give the time it needs, such as 4h: shorter jobs start sooner.",
    )


@per_partition(
    About(
        "warned-at-start",
        "The partition's default time is longer than the warning before a job's end.",
        "the job gets 00:01:00 by default and is warned 120 s before its end: right at its start",
        warning=True,
    )
)
def warned_at_start(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find jobs that are told to save and stop as they start; a named time shortens the warning."""
    given_s, lead = partition.default_time_s, subject.request.value("--signal").rpartition("@")[2]
    if subject.request.names_time or given_s is None or not lead.isdecimal():
        return
    if given_s <= int(lead):
        yield subject.problem(
            "resources.time",
            f"the job gets {format_slurm_time(given_s)} by default and is warned {lead} s before "
            "its end: right at its start",
            "Give the time it needs, such as 4h.",
        )


@per_partition(
    About(
        "group-not-allowed",
        "The user is in one of the Unix groups that may use the partition.",
        "partition 'private' is for the groups physics; user1 is in none of them",
    )
)
def group_not_allowed(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find partitions that are closed to this user; root may use all."""
    limits, allowed = subject.limits, partition.allow_groups
    groups = subject.facts.groups | (limits.user_groups if limits else frozenset())
    if allowed is None or not groups or subject.user == "root" or allowed & groups:
        return
    yield subject.problem(
        _KEY,
        f"partition {partition.name!r} is for the groups {listing(allowed)}; "
        f"{subject.user or 'this user'} is in none of them",
        "Name another partition, or ask to be added to the group.",
    )
