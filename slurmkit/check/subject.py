"""What is checked, and how a check names the place and the way out."""

from collections.abc import Iterable
from dataclasses import dataclass

from slurmkit import hostlist
from slurmkit.check.facts import Facts
from slurmkit.check.request import Request, request_of
from slurmkit.errors import Location, Problem
from slurmkit.limits import Limits, NodeShape, PartitionLimits
from slurmkit.plan.model import Plan
from slurmkit.site.models import Site
from slurmkit.spec.loader import Job
from slurmkit.spec.models import JobSpec

_MAX_NAMES = 8


@dataclass(frozen=True)
class Subject:
    """One job with everything it is held against.

    Attributes:
        limits: the live cluster; None when nobody asked it.
        script: text of the batch script; empty when it was not rendered.
    """

    job: Job
    plan: Plan
    site: Site
    limits: Limits | None
    facts: Facts
    script: str
    request: Request

    @classmethod
    def of(
        cls, job: Job, plan: Plan, site: Site, limits: Limits | None, facts: Facts, script: str
    ) -> "Subject":
        """Put together what the checks read."""
        return cls(job, plan, site, limits, facts, script, request_of(plan))

    @property
    def spec(self) -> JobSpec:
        """What the user asked for."""
        return self.job.spec

    def problem(
        self, key: str, message: str, hint: str = "", where: Location | None = None
    ) -> Problem:
        """Return a problem at the place of a key; the check's id and severity are added later."""
        return Problem(message, key, where or self.job.source.locate(key), hint)

    @property
    def user(self) -> str:
        """Who submits; empty when nobody knows."""
        return self.facts.user or (self.limits.user if self.limits else "")

    def origin(self, field: str) -> str:
        """Return words for a value under ``resources`` that the job's own file does not give."""
        given = getattr(self.spec.resources, field) is not None
        return "" if given else f" (the default of site {self.site.name!r})"

    def candidates(self) -> list[PartitionLimits]:
        """Return the partitions the job may run in; unknown names are left out."""
        if self.limits is None:
            return []
        known = self.limits.partitions
        if self.request.partitions:
            return [known[name] for name in self.request.partitions if name in known]
        # A job that names a reservation and no partition gets the reservation's partition.
        reservation = self.limits.reservations.get(self.request.value("--reservation"))
        if reservation is not None and reservation.partition in known:
            return [known[reservation.partition]]
        default = self.limits.default_partition()
        return [default] if default else []


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that looks most like the given one; empty when none does."""
    from difflib import get_close_matches  # noqa: PLC0415 - only somebody's typing error needs it

    by_lower = {other.lower(): other for other in sorted(names, reverse=True)}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def listing(names: Iterable[str]) -> str:
    """Return names in order, cut to a readable number."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:_MAX_NAMES])
    rest = len(ordered) - _MAX_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown


def choices(what: str, name: str, names: Iterable[str]) -> str:
    """Return the hint for an unknown name: the nearest one, and what there is."""
    known = list(names)
    near = nearest(name, known)
    there = f"{what} here: {listing(known)}." if known else f"There are no {what.lower()} here."
    return f"Did you mean {near!r}? {there}" if near else there


def hosts_text(hosts: Iterable[str]) -> str:
    """Return host names in Slurm's short form."""
    return hostlist.compress(list(hosts))


def shape_hosts(shapes: Iterable[NodeShape]) -> list[str]:
    """Return the hosts of several kinds of nodes."""
    return [host for shape in shapes for host in shape.hosts]


def plural(count: int, noun: str) -> str:
    """Return ``1 node`` or ``3 nodes``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
