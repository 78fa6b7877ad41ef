"""How deep the queue is, why its jobs wait, and how many more nodes would let them start. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from slurmkit.record import Record
from slurmkit.slurm.cluster import UNUSABLE
from slurmkit.slurm.inventory import DeclaredNode
from slurmkit.slurm.power import WaitingJob

#: What more nodes help against; every other reason is a rule, a wish, or a broken node.
_FOR_NODES = frozenset({"Resources", "Priority", "None", ""})
_KINDS = (
    ("held by a person", ("JobHeld", "Held")),
    ("its partition", ("Partition",)),
    ("its array's own limit", ("JobArrayTaskLimit",)),
    ("a limit of QOS or account", ("QOS", "Assoc", "MaxJobs", "Limit")),
    ("another job", ("Dependency",)),
    ("its time", ("BeginTime",)),
    ("licences", ("Licenses",)),
    ("a reservation", ("Reservation", "Reserved")),
    ("nodes that are down or drained", ("Node",)),
)
# A node that starts or is stopped does not respond, either.
_OUT = UNUSABLE - {"NOT_RESPONDING"} | {"MAINTENANCE", "REBOOT_ISSUED"}


class NodeCounts(Record):
    """The nodes of a partition by what they can do for a job that waits."""

    total: int = 0
    busy: int = 0
    idle: int = 0
    stopped: int = 0
    starting: int = 0
    out: int = 0

    @property
    def free(self) -> int:
        """Nodes that a job can have without one more."""
        return self.idle + self.stopped + self.starting


@dataclass(frozen=True)
class PartitionDepth:
    """One partition's queue.

    Attributes:
        name: the partition.
        jobs: jobs that wait for nodes there.
        needed: whole nodes that all of them want together, jobs that share a node packed.
        nodes: its nodes now.
        add: nodes that must be added to it, so that all jobs could run at once.
        first: nodes to add so that the first job in line could start, now.
        impossible: ids of jobs that want more nodes than the partition has; they never start.
        longest_wait_s: seconds that the oldest of them waits.
        node_hours: what they ask for in all, by their time limits.
    """

    name: str
    jobs: int
    needed: int
    nodes: dict[str, int]
    add: int
    first: int
    impossible: list[str]
    longest_wait_s: int
    node_hours: float


@dataclass(frozen=True)
class Depth:
    """The whole queue.

    Attributes:
        pending: jobs that wait, array tasks counted one by one.
        reasons: how many of them wait for what, most first; ``nodes`` is what more nodes help.
        partitions: queues of partitions with jobs that wait for nodes.
        add: nodes to add in all partitions together; a node in several counts once.
        advice: one sentence per partition.
    """

    pending: int
    reasons: dict[str, int]
    partitions: list[PartitionDepth]
    add: int
    advice: list[str]


def depth(jobs: Sequence[WaitingJob], nodes: Iterable[DeclaredNode], now: float) -> Depth:
    """Return how deep the queue is.

    Args:
        jobs: jobs that wait, the first in line first.
        nodes: all nodes.
        now: the present, Unix seconds.
    """
    reasons = Counter(why(job) for job in jobs)
    by_partition: dict[str, list[WaitingJob]] = {}
    for job in jobs:
        if why(job) == "nodes":
            # A job that names several partitions starts in whichever has room: it counts once.
            by_partition.setdefault(job.partitions[0], []).append(job)
    members: dict[str, list[DeclaredNode]] = {}
    for node in nodes:
        for name in node.partitions:
            members.setdefault(name, []).append(node)
    found = [
        _partition(name, waiting, members.get(name, []), now)
        for name, waiting in by_partition.items()
    ]
    return Depth(
        pending=len(jobs),
        reasons=dict(reasons.most_common()),
        partitions=found,
        add=_together(found, members),
        advice=[_advice(one) for one in found],
    )


def why(job: WaitingJob) -> str:
    """Return what a job waits for: ``nodes``, or words for what no node helps against."""
    reason = job.reason.strip("()")
    if reason in _FOR_NODES:
        return "nodes"
    return next((words for words, keys in _KINDS if any(key in reason for key in keys)), reason)


def counts(nodes: Iterable[DeclaredNode]) -> NodeCounts:
    """Return how many nodes are busy, idle, stopped, starting and out of service."""
    tally: Counter[str] = Counter()
    total = 0
    for node in nodes:
        total += 1
        tally[_place(node.state)] += 1
    return NodeCounts(total, *(tally[name] for name in NodeCounts._fields[1:]))


def _place(state: str) -> str:
    flags = set(state.replace("*", "+NOT_RESPONDING").split("+"))
    if flags & _OUT:
        return "out"
    if "POWERED_DOWN" in flags or "POWERING_DOWN" in flags:
        return "stopped"
    if "POWERING_UP" in flags:
        return "starting"
    if "NOT_RESPONDING" in flags:
        return "out"
    return "idle" if "IDLE" in flags else "busy"


def _partition(
    name: str, jobs: Sequence[WaitingJob], nodes: Sequence[DeclaredNode], now: float
) -> PartitionDepth:
    have = counts(nodes)
    gpus = max((node.gpus for node in nodes), default=0)
    cpus = max((node.cpus for node in nodes), default=0)
    needed = nodes_needed(jobs, gpus, cpus)
    counted = [_size(job, gpus, cpus)[1] for job in jobs]
    return PartitionDepth(
        name=name,
        jobs=len(jobs),
        needed=needed,
        nodes={field: getattr(have, field) for field in have._fields},
        add=max(0, needed - have.free),
        # Which of the busy nodes will soon be free is not known here.
        first=max(0, counted[0] - have.free),
        impossible=[job.id for job, count in zip(jobs, counted, strict=True) if count > have.total],
        longest_wait_s=max(0, int(now - min(job.submitted for job in jobs))),
        node_hours=round(
            sum(
                count * (job.limit_s or 0) / 3600 for job, count in zip(jobs, counted, strict=True)
            ),
            1,
        ),
    )


def nodes_needed(jobs: Sequence[WaitingJob], gpus: int, cpus: int) -> int:
    """Return how many nodes jobs want at once; jobs that leave room on a node share it.

    First fit, largest first; the parts of one job are on as many nodes as it asks for.

    Args:
        jobs: the jobs.
        gpus: GPUs of a node.
        cpus: CPUs of a node.
    """
    room: list[float] = []
    whole = 0
    for share, count in sorted((_size(job, gpus, cpus) for job in jobs), reverse=True):
        if share >= 1:
            whole += count
            continue
        fits = (index for index, left in enumerate(room) if left >= share - 1e-9)
        shared = list(islice(fits, count))
        for index in shared:
            room[index] -= share
        room += [1.0 - share] * (count - len(shared))
    return whole + len(room)


def _size(job: WaitingJob, gpus: int, cpus: int) -> tuple[float, int]:
    """Return how much of a node each of a job's nodes takes, from 0 to 1, and how many they are.

    A job that names no number of nodes, such as one with --gpus=16, takes as many as hold it.
    """
    wanted = ((job.gpus_per_node * job.num_nodes, gpus), (job.num_cpus, cpus))
    loads = [want / have for want, have in wanted if have]
    count = max([job.num_nodes, *map(math.ceil, loads)])
    return (1.0 if job.exclusive else max([0.0, *loads]) / count), count


def _together(found: Sequence[PartitionDepth], members: Mapping[str, list[DeclaredNode]]) -> int:
    """Return the nodes to add over all; partitions of the same nodes share what is added."""
    same: dict[frozenset[str], list[PartitionDepth]] = {}
    for one in found:
        hosts = frozenset(node.name for node in members.get(one.name, ()))
        same.setdefault(hosts, []).append(one)
    return sum(
        max(0, sum(one.needed for one in group) - NodeCounts(**group[0].nodes).free)
        for group in same.values()
    )


def _advice(one: PartitionDepth) -> str:
    jobs = f"{one.jobs} {'job waits' if one.jobs == 1 else 'jobs wait'} for nodes"
    words = f"{one.name}: {jobs} ({one.needed} wanted at once)"
    have = NodeCounts(**one.nodes)
    if one.impossible:
        most = one.needed - have.total
        return (
            f"{words}; {len(one.impossible)} can never start: they want more than the"
            f" {have.total} nodes that there are" + (f", {most} more would do" if most > 0 else "")
        )
    if one.add == 0:
        starting = have.stopped + have.starting
        from_stopped = f", {starting} of them stopped or starting" if starting else ""
        return f"{words}; {have.free} are free{from_stopped}: no node need be added"
    broken = f"; {have.out} are out of service: mend these first" if have.out else ""
    return f"{words}, {have.free} free: {one.add} more would let all of them start{broken}"
