"""Runs the checks: those of the job itself, of the cluster, and of each partition it may run in."""

from slurmkit.check import (
    accounts,
    cluster,
    counts,
    files,
    launch,
    mpi,
    order,
    partitions,
    places,
    recovery,
    script,
    sizes,
    software,
)
from slurmkit.check.facts import Facts
from slurmkit.check.registry import Check, ClusterCheck, LocalCheck, PartitionCheck
from slurmkit.check.subject import Subject
from slurmkit.errors import Problem
from slurmkit.limits import Limits, PartitionLimits
from slurmkit.plan.model import Plan
from slurmkit.site.models import Site
from slurmkit.spec.loader import Job

_ROOMS = (
    partitions,
    counts,
    sizes,
    places,
    accounts,
    cluster,
    order,
    launch,
    mpi,
    recovery,
    software,
    files,
    script,
)

#: Every check with the title of the group it belongs to, in the order of the reference page.
GROUPS: tuple[tuple[str, tuple[Check, ...]], ...] = tuple(
    (
        (room.__doc__ or "").strip(),
        tuple(item for item in vars(room).values() if isinstance(item, Check)),
    )
    for room in _ROOMS
)
CHECKS: tuple[Check, ...] = tuple(check for _, checks in GROUPS for check in checks)


def check_job(
    job: Job, plan: Plan, site: Site, limits: Limits | None, facts: Facts, script: str
) -> list[Problem]:
    """Return everything that is wrong or odd, in the order of the job file.

    Args:
        job: the job as loaded.
        plan: what will be submitted.
        site: the site's file.
        limits: the live cluster; None leaves out what needs it.
        facts: what this machine knows of files, programs and secrets.
        script: text of the batch script; empty leaves out what reads it.
    """
    subject = Subject.of(job, plan, site, limits, facts, script)
    found: list[Problem] = []
    for check in CHECKS:
        if isinstance(check, LocalCheck):
            found += check.run(subject)
        elif isinstance(check, ClusterCheck) and limits is not None:
            found += check.run(subject, limits)
    found += _in_partitions(subject)
    return sorted(found, key=_order)


def _in_partitions(subject: Subject) -> list[Problem]:
    """Return what keeps the job out of all partitions it names; one that takes it is enough."""
    found = [_in_partition(subject, partition) for partition in subject.candidates()]
    for problems in found:
        if all(problem.warning for problem in problems):
            return problems
    return [problem for problems in found for problem in problems]


def _in_partition(subject: Subject, partition: PartitionLimits) -> list[Problem]:
    checks = [check for check in CHECKS if isinstance(check, PartitionCheck)]
    found = [
        problem
        for check in checks
        if not check.only_if_clean
        for problem in check.run(subject, partition)
    ]
    if all(problem.warning for problem in found):
        for check in checks:
            if check.only_if_clean:
                found += check.run(subject, partition)
    return found


def _order(problem: Problem) -> tuple[bool, str, int, int]:
    where = problem.where
    if where is None:
        return True, "", 0, 0
    return False, where.file, where.line, where.column
