"""Checks of checkpoints, warnings and what is done after a failure."""

from collections.abc import Iterator
from pathlib import PurePath

from slurmkit.check.facts import LastSave
from slurmkit.check.registry import About, Problems, local, on_cluster, per_partition
from slurmkit.check.subject import Subject
from slurmkit.limits import Limits, PartitionLimits
from slurmkit.plan.recovery import DEFAULT_LOCAL_DIR
from slurmkit.units import format_slurm_time, parse_duration_s

_SUCCESSOR = "successor"
_DIR = "checkpoint.dir"


def _actions(subject: Subject) -> list[tuple[str, str]]:
    """Return what is tried after a node failure, each with its key."""
    resilience = subject.spec.resilience
    if resilience is None:
        return []
    return [
        ("resilience.on_node_failure", resilience.on_node_failure),
        *((f"resilience.then.{i}", action) for i, action in enumerate(resilience.then)),
    ]


@local(
    About(
        "successor-not-possible",
        "A job that is to submit its successor runs where compute nodes may submit jobs.",
        "site 'alps' lets no compute node submit jobs: successor is not tried",
        warning=True,
    )
)
def successor_not_possible(subject: Subject) -> Problems:
    """Find recovery plans that the site forbids."""
    if subject.site.sbatch_from_compute_nodes is not False:
        return
    actions = _actions(subject)
    for key, action in actions:
        if action == _SUCCESSOR:
            alone = len(actions) == 1
            yield subject.problem(
                key,
                f"site {subject.site.name!r} lets no compute node submit jobs: "
                + ("the job stops at a failure" if alone else "successor is not tried"),
                "Use requeue or spare; or, if they may, set sbatch_from_compute_nodes: true in "
                "site.yaml.",
            )


@local(
    About(
        "successor-uncertain",
        "Where nobody knows whether compute nodes may submit jobs, something comes after "
        "successor.",
        "nothing is tried if Slurm refuses the successor, and site 'alps' does not say that it "
        "takes one",
        warning=True,
    )
)
def successor_uncertain(subject: Subject) -> Problems:
    """Find recovery plans whose last action may be refused at the worst moment."""
    actions = _actions(subject)
    left = [action for _, action in actions if action != "stop"]
    if subject.site.sbatch_from_compute_nodes is None and left[-1:] == [_SUCCESSOR]:
        yield subject.problem(
            next(key for key, action in actions if action == _SUCCESSOR),
            "nothing is tried if Slurm refuses the successor, and site "
            f"{subject.site.name!r} does not say that it takes one",
            "Add requeue behind it; or set sbatch_from_compute_nodes in site.yaml.",
        )


@on_cluster(
    About(
        "requeue-off",
        "The site starts jobs again after a node failed (JobRequeue is not 0).",
        "this site does not start jobs again by default (JobRequeue=0); this one asks for it",
        warning=True,
    )
)
def requeue_off(subject: Subject, limits: Limits) -> Problems:
    """Say where ``--requeue`` goes against the site's habit."""
    if limits.job_requeue or "--requeue" not in subject.request.options:
        return
    yield subject.problem(
        "resilience.on_node_failure" if subject.spec.resilience else "",
        "this site does not start jobs again by default (JobRequeue=0); this one asks for it",
        "Make sure the program may start twice, or write resilience: stop.",
    )


@local(
    About(
        "warning-shortened",
        "The time limit leaves room for the site's warning before the end.",
        "a job of 00:03:00 is warned 90 s before its end, not 120 s as site 'alps' has it",
        warning=True,
    )
)
def warning_shortened(subject: Subject) -> Problems:
    """Find jobs that are so short that the warning comes later than usual."""
    request, usual_s = subject.request, subject.site.signal.lead_s
    lead = request.value("--signal").rpartition("@")[2]
    if lead.isdecimal() and int(lead) < usual_s:
        yield subject.problem(
            "resources.time",
            f"a job of {format_slurm_time(request.time_s)} is warned {lead} s before its end, "
            f"not {usual_s} s as site {subject.site.name!r} has it",
            "Give it more time if a save needs that long.",
        )


def _last_save(subject: Subject) -> LastSave | None:
    return subject.facts.last_save if subject.spec.checkpoint is not None else None


@local(
    About(
        "warning-too-late",
        "The warning before the end leaves time for a save, by the last run of this name.",
        "saving took 150 s in the last run, and the job is warned 120 s before its end",
        warning=True,
    )
)
def warning_too_late(subject: Subject) -> Problems:
    """Find jobs whose last checkpoint could not be finished."""
    last, lead = _last_save(subject), subject.request.value("--signal").rpartition("@")[2]
    if last is not None and lead.isdecimal() and last.save_s >= int(lead):
        yield subject.problem(
            "checkpoint",
            f"saving took {last.save_s:.0f} s in the last run, and the job is warned {lead} s "
            "before its end",
            "Raise signal.lead_s in site.yaml, or save faster: levels: [nvme, shared].",
        )


@local(
    About(
        "hang-too-short",
        "A save takes less time than what is taken for a hang, by the last run of this name.",
        "saving took 150 s in the last run, and 60 s without a step are taken for a hang",
        warning=True,
    )
)
def hang_too_short(subject: Subject) -> Problems:
    """Find limits that a slow save would break."""
    last, recovery = _last_save(subject), subject.plan.recovery
    if last is None or recovery is None or recovery.hang in ("auto", "off"):
        return
    limit_s = parse_duration_s(recovery.hang)
    if limit_s is not None and last.save_s >= limit_s:
        yield subject.problem(
            "resilience.hang",
            f"saving took {last.save_s:.0f} s in the last run, and {limit_s} s without a step are "
            "taken for a hang",
            "Write hang: auto, or a longer time.",
        )


@local(
    About(
        "hang-over-time",
        "What is taken for a hang is shorter than the job's time.",
        "a hang is noticed after 120 min, and the job ends after 60 min",
        warning=True,
    )
)
def hang_over_time(subject: Subject) -> Problems:
    """Find limits that never count."""
    recovery, time_s = subject.plan.recovery, subject.request.time_s
    if recovery is None or recovery.hang in ("auto", "off") or time_s is None:
        return
    limit_s = parse_duration_s(recovery.hang)
    if limit_s is not None and limit_s >= time_s:
        yield subject.problem(
            "resilience.hang",
            f"a hang is noticed after {limit_s // 60} min, and the job ends after "
            f"{time_s // 60} min",
            "Write hang: auto, or a shorter time.",
        )


@local(
    About(
        "checkpoint-not-writable",
        "The user may create files in the folder of checkpoints, or create it.",
        "checkpoints cannot be written to /data/ckpt: you may not create files in /data",
    )
)
def checkpoint_not_writable(subject: Subject) -> Problems:
    """Find folders that the first save would fail in."""
    fact = subject.facts.checkpoint_dir
    if fact is not None and not fact.writable:
        yield subject.problem(
            _DIR,
            f"checkpoints cannot be written to {fact.path}: you may not create files in "
            f"{fact.parent}",
            "Leave dir out to keep them in the run directory, or name a folder of yours.",
        )


@local(
    About(
        "checkpoint-node-local",
        "The folder of checkpoints is on a file system that all nodes share.",
        "/scratch/ckpt is on each machine for itself (ext4): no checkpoint would be whole",
        warning=True,
    )
)
def checkpoint_node_local(subject: Subject) -> Problems:
    """Find folders of which each node has its own."""
    fact = subject.facts.checkpoint_dir
    if fact is not None and fact.node_local:
        yield subject.problem(
            _DIR,
            f"{fact.path} is on each machine for itself ({fact.file_system}): no checkpoint would "
            "be whole",
            "Name a folder on shared storage; for a fast copy on the nodes write "
            "levels: [nvme, shared].",
        )


@local(
    About(
        "checkpoint-in-code",
        "Checkpoints are not kept in the folder with the code.",
        "checkpoints would fill the folder that the program runs in",
        warning=True,
    )
)
def checkpoint_in_code(subject: Subject) -> Problems:
    """Find checkpoints that whoever cleans up, copies or commits the code would take along."""
    fact, workdir = subject.facts.checkpoint_dir, subject.facts.path("launch.workdir")
    if fact is None:
        return
    code = [str(subject.job.base_dir), *([workdir.path] if workdir else [])]
    if any(PurePath(fact.path).is_relative_to(folder) for folder in code):
        yield subject.problem(
            _DIR,
            "checkpoints would fill the folder that the program runs in",
            "Leave dir relative: it is then in the run directory.",
        )


@local(
    About(
        "checkpoint-no-room",
        "There is room for as many checkpoints as are kept, by the size of the last run's.",
        "4 checkpoints of 50.0 GB do not fit: there are 100.0 GB left in /data",
        warning=True,
    )
)
def checkpoint_no_room(subject: Subject) -> Problems:
    """Find file systems that would be full before the first old checkpoint is removed."""
    last, checkpoints = _last_save(subject), subject.plan.checkpoints
    fact = subject.facts.checkpoint_dir or subject.facts.run_root
    if last is None or checkpoints is None or fact is None or fact.free_bytes is None:
        return
    # The oldest is removed only once a newer one is whole.
    count = checkpoints.keep + 1
    if count * last.size_bytes > fact.free_bytes:
        yield subject.problem(
            "checkpoint.keep",
            f"{count} checkpoints of {last.size_bytes / 1e9:.1f} GB do not fit: there are "
            f"{fact.free_bytes / 1e9:.1f} GB left in {fact.parent}",
            "Keep fewer, or name another dir.",
        )


@local(
    About(
        "local-dir-unknown",
        "The site says where each node has a disk of its own for level nvme.",
        "level nvme goes to /tmp: site 'alps' names no local_dir",
        warning=True,
    )
)
def local_dir_unknown(subject: Subject) -> Problems:
    """Find copies that may end up in memory, or in a folder that is emptied with each job."""
    checkpoint = subject.spec.checkpoint
    if checkpoint is None or subject.site.local_dir is not None:
        return
    for level in checkpoint.levels:
        if level != "shared":
            yield subject.problem(
                "checkpoint.levels",
                f"level {level} goes to {DEFAULT_LOCAL_DIR}: site {subject.site.name!r} names no "
                "local_dir",
                "Set local_dir in site.yaml to a folder on the nodes' own disks.",
            )
            return


@local(
    About(
        "ranks-unwatched",
        "Something of slurmkit starts each rank, so that hangs and steps are noticed.",
        "in a pyxis container nothing tells slurmkit of ranks: hangs are not noticed",
        warning=True,
    )
)
def ranks_unwatched(subject: Subject) -> Problems:
    """Find jobs whose ranks the agents of the nodes do not hear of."""
    recovery, container = subject.plan.recovery, subject.plan.container
    if recovery is None or container is None or container.runtime != "pyxis":
        return
    if recovery.hang != "off":
        yield subject.problem(
            "resilience",
            "in a pyxis container nothing tells slurmkit of ranks: hangs are not noticed",
            "Use runtime: apptainer for that, or write hang: off. Lost nodes are noticed.",
        )


@per_partition(
    About(
        "preempted-without-grace",
        "A job that others may push aside has time to save first (GraceTime).",
        "jobs of partition 'batch' are pushed aside at once (GraceTime=0): what was computed since "
        "the last save is lost",
        warning=True,
    )
)
def preempted_without_grace(subject: Subject, partition: PartitionLimits) -> Problems:
    """Find jobs that cannot save when they are preempted."""
    if subject.spec.checkpoint is None and subject.spec.resilience is None:
        return
    for whose, grace_s in _preempted(subject, partition):
        if grace_s == 0:
            yield subject.problem(
                "checkpoint.every" if subject.spec.checkpoint is not None else "resilience",
                f"jobs of {whose} are pushed aside at once (GraceTime=0): what was computed since "
                "the last save is lost",
                "Save often enough, or ask for a GraceTime.",
            )
            return


def _preempted(subject: Subject, partition: PartitionLimits) -> Iterator[tuple[str, int]]:
    """Yield who may push this job aside, in words, and how long it then has."""
    limits = subject.limits
    if limits is None or not limits.preempt_by:
        return
    own = {shape.hosts for shape in partition.nodes}
    rivals = [
        other
        for other in limits.partitions.values()
        if other.priority_tier > partition.priority_tier
        and not own.isdisjoint({shape.hosts for shape in other.nodes})
    ]
    if limits.preempt_by == "partition_prio":
        if rivals and partition.preempt_mode not in ("OFF", "SUSPEND", "SUSPEND,GANG"):
            yield f"partition {partition.name!r}", partition.grace_s
        return
    name = subject.request.value("--qos")
    qos = (limits.qos or {}).get(name)
    tiers = subject.site.tiers.values()
    if qos is not None and any(tier.preemptible and tier.qos == name for tier in tiers):
        yield f"QOS {name!r}", qos.grace_s
