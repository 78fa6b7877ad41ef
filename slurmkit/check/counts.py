"""Checks of how many nodes the job wants, alone and with everything they must have."""

from slurmkit.check.accounts import waives
from slurmkit.check.constraint import parse
from slurmkit.check.nodes import (
    Need,
    hosts_for,
    hosts_of_alternative,
    needs_of,
    partition_hosts,
)
from slurmkit.check.registry import About, Problems, per_partition
from slurmkit.check.subject import Subject, hosts_text, plural
from slurmkit.limits import PartitionLimits


@per_partition(
    About(
        "nodes-over-limit",
        "The number of nodes, without spares, is at most the partition's MaxNodes.",
        "16 nodes are more than partition 'batch' gives one job: MaxNodes is 8",
    )
)
def nodes_over_limit(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find counts that Slurm accepts, and then keeps pending for PartitionNodeLimit."""
    wanted, most = subject.request.shape.num_nodes, partition.max_nodes
    if most is not None and wanted > most and not waives(subject, "PartitionMaxNodes"):
        yield subject.problem(
            "resources.nodes",
            f"{plural(wanted, 'node')} are more than partition {partition.name!r} gives one job: "
            f"MaxNodes is {most}",
            f"Ask for at most {most}, or name another partition.",
        )


@per_partition(
    About(
        "nodes-under-limit",
        "The number of nodes is at least the partition's MinNodes.",
        "partition 'large' takes jobs of at least 4 nodes (MinNodes); this one has 1",
    )
)
def nodes_under_limit(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find jobs that are too small; Slurm keeps them pending for PartitionNodeLimit."""
    wanted, least = subject.request.shape.num_allocated, partition.min_nodes
    if wanted < least and not waives(subject, "PartitionMinNodes"):
        yield subject.problem(
            "resources.nodes",
            f"partition {partition.name!r} takes jobs of at least {plural(least, 'node')} "
            f"(MinNodes); this one has {wanted}",
            "Name a partition for small jobs.",
        )


@per_partition(
    About(
        "nodes-over-partition",
        "The partition has as many nodes, whatever their state.",
        "8 nodes are wanted; partition 'batch' has 4 (n[1-4])",
    )
)
def nodes_over_partition(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find counts that the partition can never give."""
    wanted, hosts = subject.request.shape.num_nodes, partition_hosts(partition)
    if hosts and wanted > len(hosts):
        yield subject.problem(
            "resources.nodes",
            f"{plural(wanted, 'node')} are wanted; partition {partition.name!r} has {len(hosts)} "
            f"({hosts_text(hosts)})",
            f"Ask for at most {len(hosts)}, or name another partition.",
        )


@per_partition(
    About(
        "spares-over-partition",
        "Nodes and spares together are within the partition's nodes and its MaxNodes.",
        "3 nodes and 2 spares are 5; partition 'batch' has 4 for one job",
    )
)
def spares_over_partition(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find spares that are too many where the nodes alone are not."""
    shape = subject.request.shape
    most = len(partition_hosts(partition))
    if partition.max_nodes is not None and not waives(subject, "PartitionMaxNodes"):
        most = min(most, partition.max_nodes)
    if partition.nodes and shape.num_nodes <= most < shape.num_allocated:
        yield subject.problem(
            "resources.spares",
            f"{plural(shape.num_nodes, 'node')} and {plural(shape.num_spares, 'spare')} are "
            f"{shape.num_allocated}; partition {partition.name!r} has {most} for one job",
            f"Ask for at most {plural(most - shape.num_nodes, 'spare')}.",
        )


@per_partition(
    About(
        "exclude-leaves-too-few",
        "Without the excluded nodes the partition still has enough.",
        "excluding n[1-3] leaves 1 node of partition 'batch'; the job wants 2",
    )
)
def exclude_leaves_too_few(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find exclusions that take too much away."""
    hosts, excluded = partition_hosts(partition), subject.request.excluded
    wanted = subject.request.shape.num_allocated
    left = [host for host in hosts if host not in excluded]
    if len(left) < wanted <= len(hosts):
        taken = hosts_text(host for host in hosts if host in excluded)
        yield subject.problem(
            "resources.exclude",
            f"excluding {taken} leaves {plural(len(left), 'node')} of partition "
            f"{partition.name!r}; the job wants {wanted}",
            "Exclude fewer nodes, or ask for fewer.",
        )


@per_partition(
    About(
        "constraint-count",
        "As many nodes have a feature as the constraint counts, such as [rack1*2&rack2*4].",
        "the constraint wants 4 nodes with 'rack2'; partition 'all' has 2",
    )
)
def constraint_count(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find counts of a feature that the partition cannot give."""
    for feature, wanted in parse(subject.request.value("--constraint")).counts:
        have = len(hosts_of_alternative(subject, partition, [], feature))
        if 0 < have < wanted:
            yield subject.problem(
                "resources.constraint",
                f"the constraint wants {plural(wanted, 'node')} with {feature!r}; "
                f"partition {partition.name!r} has {have}",
                "Lower the count.",
            )


@per_partition(
    About(
        "no-fitting-nodes",
        "Enough nodes have the CPUs, memory, GPUs and features that are wanted, all at once.",
        "2 nodes of partition 'all' have 8 CPUs, 100G of memory and 1 GPU at once (g[1-2]); "
        "the job wants 3, and 100G of memory is the limit",
    ),
    only_if_clean=True,
)
def no_fitting_nodes(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find jobs whose parts fit some node each, but not enough nodes together."""
    wanted = subject.request.shape.num_allocated
    needs = needs_of(subject, partition)
    fitting = _best_fit(subject, partition, needs)
    if not partition.nodes or not needs or len(fitting) >= wanted:
        return
    limiting = max(needs, key=lambda need: _severity(subject, partition, needs, need))
    if fitting:
        verb = "has" if len(fitting) == 1 else "have"
        have = f"{plural(len(fitting), 'node')} of partition {partition.name!r} {verb}"
        hosts = f" ({hosts_text(fitting)})"
    else:
        have, hosts = f"no node of partition {partition.name!r} has", ""
    limit = f", and {limiting.words} is the limit" if len(needs) > 1 else ""
    yield subject.problem(
        limiting.key,
        f"{have} {_join(needs)}{' at once' if len(needs) > 1 else ''}{hosts}; "
        f"the job wants {wanted}{limit}",
        "Ask for less per node, for fewer nodes, or name another partition.",
    )


@per_partition(
    About(
        "too-few-nodes-up",
        "Enough nodes that fit are up, not down or drained.",
        "only 3 of the 4 nodes of partition 'batch' that fit are up; the job wants 4 and waits "
        "for n2 (Not responding)",
        warning=True,
    ),
    only_if_clean=True,
)
def too_few_nodes_up(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find jobs that wait until somebody repairs a node."""
    wanted = subject.request.shape.num_allocated
    needs = needs_of(subject, partition)
    fitting = hosts_for(subject, partition, needs)
    up = hosts_for(subject, partition, needs, up_only=True)
    if len(up) < wanted <= len(fitting):
        missing = [host for host in fitting if host not in set(up)]
        count = f"only {len(up)}" if up else "none"
        yield subject.problem(
            "resources.nodes",
            f"{count} of the {plural(len(fitting), 'node')} of partition {partition.name!r} that "
            f"fit {'is' if len(up) == 1 else 'are'} up; the job wants {wanted} and waits for "
            f"{hosts_text(missing)}{_reasons(partition, missing)}",
            "Ask for fewer nodes, name another partition, or wait.",
        )


def _best_fit(subject: Subject, partition: PartitionLimits, needs: list[Need]) -> list[str]:
    same = parse(subject.request.value("--constraint")).same
    if not same:
        return hosts_for(subject, partition, needs)
    fits = [hosts_of_alternative(subject, partition, needs, feature) for feature in same]
    return max(fits, key=len)


def _severity(
    subject: Subject, partition: PartitionLimits, needs: list[Need], need: Need
) -> tuple[int, int]:
    """Return how many hosts would fit without this need, then how few meet it."""
    others = [other for other in needs if other is not need]
    meet_it = len(hosts_for(subject, partition, [need]))
    return len(hosts_for(subject, partition, others)), -meet_it


def _join(needs: list[Need]) -> str:
    words = [need.words for need in needs]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _reasons(partition: PartitionLimits, hosts: list[str]) -> str:
    reasons = {
        node.reason
        for node in partition.nodes
        if node.reason and any(host in hosts for host in node.hosts)
    }
    return f" ({'; '.join(sorted(reasons))})" if reasons else ""
