"""Checks of where the job is to run: reservation, hosts that are named, node features."""

from slurmkit.check.constraint import parse
from slurmkit.check.nodes import partition_hosts
from slurmkit.check.registry import About, Problems, on_cluster, per_partition
from slurmkit.check.subject import Subject, choices, hosts_text, listing, nearest, plural
from slurmkit.limits import Limits, NodeShape, PartitionLimits


@on_cluster(
    About(
        "constraint-unknown",
        "Some node of the cluster has each feature that the constraint names.",
        "no node of the cluster has the feature 'infinband'",
    )
)
def constraint_unknown(subject: Subject, limits: Limits) -> Problems:
    """Find features that sbatch refuses."""
    features = {name for node in _all_nodes(limits) for name in node.features}
    for name in parse(subject.request.value("--constraint")).names:
        if name not in features:
            yield subject.problem(
                "resources.constraint",
                f"no node of the cluster has the feature {name!r}",
                choices("Features", name, features),
            )


@per_partition(
    About(
        "constraint-not-in-partition",
        "Some node of the partition is accepted by the constraint.",
        "no node of partition 'batch' is accepted by 'gpu&nvlink'",
    )
)
def constraint_not_in_partition(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find constraints that no node of the partition meets."""
    constraint = parse(subject.request.value("--constraint"))
    there = {name for node in partition.nodes for name in node.features}
    counted = [name for name, count in constraint.counts if count and name not in there]
    accepted = any(constraint.accepts(node.features) for node in partition.nodes)
    if not partition.nodes or not constraint.names or (accepted and not counted):
        return
    elsewhere = {name for node in _all_nodes(subject.limits) for name in node.features}
    if set(constraint.names) - elsewhere:
        return  # constraint-unknown says more
    yield subject.problem(
        "resources.constraint",
        f"no node of partition {partition.name!r} is accepted by {constraint.text!r}",
        f"Features of its nodes: {listing(there)}." if there else "Its nodes have no features.",
    )


def _all_nodes(limits: Limits | None) -> list[NodeShape]:
    partitions = limits.partitions.values() if limits else ()
    return [node for partition in partitions for node in partition.nodes]


@on_cluster(
    About(
        "host-unknown",
        "The hosts under nodelist and exclude are nodes of the cluster.",
        "the cluster has no node 'n9'",
    )
)
def host_unknown(subject: Subject, limits: Limits) -> Problems:
    """Find host names that sbatch refuses."""
    if not subject.request.hosts and not subject.request.excluded:
        return  # most jobs; a large cluster's hosts need not be looked through for them
    known = {host for node in _all_nodes(limits) for host in node.hosts}
    for key, hosts in (
        ("resources.nodelist", subject.request.hosts),
        ("resources.exclude", sorted(subject.request.excluded)),
    ):
        strangers = [host for host in hosts if host not in known]
        if known and strangers:
            near = nearest(strangers[0], known) if len(strangers) == 1 else ""
            noun = "node" if len(strangers) == 1 else "nodes"
            yield subject.problem(
                key,
                f"the cluster has no {noun} {hosts_text(strangers)!r}",
                f"Did you mean {near!r}?" if near else f"Nodes here: {hosts_text(sorted(known))}.",
            )


@per_partition(
    About(
        "host-not-in-partition",
        "The hosts under nodelist are nodes of the partition.",
        "g1 under nodelist is no node of partition 'batch' (n[1-4])",
    )
)
def host_not_in_partition(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find hosts that the partition cannot give."""
    if not subject.request.hosts:
        return
    own = set(partition_hosts(partition))
    known = {host for node in _all_nodes(subject.limits) for host in node.hosts}
    strangers = [host for host in subject.request.hosts if host in known and host not in own]
    if own and strangers:
        verb = "is no node" if len(strangers) == 1 else "are no nodes"
        yield subject.problem(
            "resources.nodelist",
            f"{hosts_text(strangers)} under nodelist {verb} of partition {partition.name!r} "
            f"({hosts_text(partition_hosts(partition))})",
            "Name its hosts, or the partition of these.",
        )


@on_cluster(
    About(
        "host-down",
        "The hosts under nodelist are up.",
        "n2 under nodelist is not up: Not responding; the job waits for it",
        warning=True,
    )
)
def host_down(subject: Subject, limits: Limits) -> Problems:
    """Find hosts that somebody has to repair first."""
    wanted = frozenset(subject.request.hosts)
    down = {
        host: node.reason
        for node in _all_nodes(limits)
        if not node.usable
        for host in node.hosts
        if host in wanted
    }
    if down:
        reasons = "; ".join(sorted({reason for reason in down.values() if reason}))
        yield subject.problem(
            "resources.nodelist",
            f"{hosts_text(down)} under nodelist {'is' if len(down) == 1 else 'are'} not up"
            f"{': ' + reasons if reasons else ''}; the job waits for "
            f"{'it' if len(down) == 1 else 'them'}",
            "Name other hosts, or leave nodelist out.",
        )


@on_cluster(
    About(
        "reservation-unknown",
        "The reservation exists.",
        "there is no reservation 'workshop'",
    )
)
def reservation_unknown(subject: Subject, limits: Limits) -> Problems:
    """Find reservations that sbatch refuses; a job may name several."""
    for name in _reservations(subject):
        if name not in limits.reservations:
            yield subject.problem(
                "resources.reservation",
                f"there is no reservation {name!r}",
                choices("Reservations", name, limits.reservations),
            )


def _reservations(subject: Subject) -> list[str]:
    return [name for name in subject.request.value("--reservation").split(",") if name]


@on_cluster(
    About(
        "reservation-ended",
        "The reservation has not ended.",
        "reservation 'workshop' ended 2 hours ago",
    )
)
def reservation_ended(subject: Subject, limits: Limits) -> Problems:
    """Find reservations that are over."""
    now = subject.facts.now
    for name in _reservations(subject):
        found = limits.reservations.get(name)
        if found is not None and found.end <= now:
            yield subject.problem(
                "resources.reservation",
                f"reservation {name!r} ended {_ago(now - found.end)} ago",
                "Leave it out, or name one that still runs.",
            )


def _ago(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return plural(int(seconds // size), unit)
    return plural(int(seconds), "second")


@on_cluster(
    About(
        "reservation-not-yours",
        "The reservation is for this user or account.",
        "reservation 'workshop' is for the users user2, user3; user1 is not one of them",
    )
)
def reservation_not_yours(subject: Subject, limits: Limits) -> Problems:
    """Find reservations that sbatch refuses to this user."""
    user = subject.user
    account = subject.request.value("--account") or limits.default_account
    for name in _reservations(subject):
        found = limits.reservations.get(name)
        if found is None:
            continue
        # 22.05 keeps root out of the reservations of others, 26.05 does not.
        if user == "root" and limits.version > (22, 5):
            continue
        # A job must match both where both are given; scontrol(1).
        if found.users is not None and user and user not in found.users:
            message = f"the users {listing(found.users)}; {user} is not one of them"
        elif found.accounts is not None and account and account not in found.accounts:
            message = f"the accounts {listing(found.accounts)}; this job has {account!r}"
        else:
            continue
        yield subject.problem(
            "resources.reservation",
            f"reservation {name!r} is for {message}",
            "Ask its owner to add you, or leave it out.",
        )


@on_cluster(
    About(
        "reservation-too-small",
        "The reservation holds as many nodes.",
        "4 nodes are wanted; reservation 'workshop' holds 2",
    )
)
def reservation_too_small(subject: Subject, limits: Limits) -> Problems:
    """Find jobs that are larger than their reservation."""
    wanted = subject.request.shape.num_allocated
    for name in _reservations(subject):
        found = limits.reservations.get(name)
        if found is not None and 0 < found.num_nodes < wanted:
            yield subject.problem(
                "resources.reservation",
                f"{plural(wanted, 'node')} are wanted; reservation {name!r} holds "
                f"{found.num_nodes}",
                f"Ask for at most {found.num_nodes}, spares included, or leave it out.",
            )


@on_cluster(
    About(
        "reservation-too-short",
        "The job's time fits between the reservation's start and end.",
        "the job asks for 12 hours; reservation 'workshop' lasts 2 hours in all",
    )
)
def reservation_too_short(subject: Subject, limits: Limits) -> Problems:
    """Find jobs that Slurm never starts because they would outlast the reservation."""
    wanted_s = subject.request.time_s
    for name in _reservations(subject):
        found = limits.reservations.get(name)
        if found is None or wanted_s is None or wanted_s <= found.end - found.start:
            continue
        yield subject.problem(
            "resources.time",
            f"the job asks for {_ago(wanted_s)}; reservation {name!r} lasts "
            f"{_ago(found.end - found.start)} in all",
            "Ask for less time, or leave the reservation out.",
        )


@on_cluster(
    About(
        "reservation-ends-soon",
        "What is left of the reservation is as long as the job's time.",
        "the job asks for 2 hours; reservation 'workshop' ends in 1 hour",
        warning=True,
    )
)
def reservation_ends_soon(subject: Subject, limits: Limits) -> Problems:
    """Find jobs that can only start when the reservation comes again."""
    wanted_s, now = subject.request.time_s, subject.facts.now
    for name in _reservations(subject):
        found = limits.reservations.get(name)
        if found is None or wanted_s is None or wanted_s > found.end - found.start:
            continue
        left_s = found.end - max(now, found.start)
        if 0 < left_s < wanted_s:
            yield subject.problem(
                "resources.time",
                f"the job asks for {_ago(wanted_s)}; reservation {name!r} ends in {_ago(left_s)}",
                "Ask for less time, or it waits for the reservation to come again.",
            )


@per_partition(
    About(
        "reservation-elsewhere",
        "The reservation is in the job's partition.",
        "reservation 'workshop' is in partition 'gpu', the job in 'batch'",
    )
)
def reservation_elsewhere(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find reservations of another partition, which sbatch refuses."""
    known = subject.limits.reservations if subject.limits else {}
    for name in _reservations(subject):
        found = known.get(name)
        if found is not None and found.partition not in ("", partition.name):
            yield subject.problem(
                "resources.reservation",
                f"reservation {name!r} is in partition {found.partition!r}, "
                f"the job in {partition.name!r}",
                f"Write partition: {found.partition}.",
            )
