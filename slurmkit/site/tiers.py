"""Sections of site.yaml about who gets how much and before whom: tiers, accounts, billing, roles.

A tier is a QOS of Slurm. QOS and accounts live in slurmdbd; what has to change there is decided in
:mod:`slurmkit.site.tiers_diff`. Here is also what slurm.conf must say for them to count.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from slurmkit.site.generate.release import Release
from slurmkit.units import format_slurm_time, parse_duration_s
from slurmkit.yamlfile.shapes import Form
from slurmkit.yamlfile.types import Duration, Line, Positive, Section, Size, Word

if TYPE_CHECKING:
    from slurmkit.site.models import Site

#: What sacctmgr would read as the end of a value or a column.
_BREAKS = "|,\"'=\\"
#: Slurm's own account, above all others.
ROOT = "root"
#: Between the priorities of tiers that name none.
_STEP = 100


def _plain(value: str) -> str:
    found = [char for char in _BREAKS if char in value]
    if found:
        raise ValueError(f"may not hold {found[0]}, which sacctmgr reads as more than text")
    return value


def _name(value: str) -> str:
    if not value.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ValueError(f"{value!r} is no name; use letters, digits, '-', '_' and '.'")
    return value


Name = Annotated[
    Word, AfterValidator(_name), Form("letters, digits, '-', '_' and '.'", r"[\w.\-]+")
]
Title = Annotated[Line, AfterValidator(_plain)]


class Amount(Section):
    """An amount of what a cluster has."""

    gpus: Positive | None = Field(None, description="GPUs.")
    cpus: Positive | None = Field(None, description="CPUs.")
    nodes: Positive | None = Field(None, description="Nodes.")
    memory: Size | None = Field(None, description="Memory, such as 2T.")


class TierLimits(Section):
    """What jobs of a tier may have at once."""

    total: Amount | None = Field(None, description="All jobs of the tier together.")
    per_user: Amount | None = Field(None, description="All jobs of one user together.")
    per_account: Amount | None = Field(None, description="All jobs of one account together.")
    per_job: Amount | None = Field(None, description="One job.")
    max_time: Duration | None = Field(None, description="Longest time limit of a job.")
    jobs: Positive | None = Field(None, description="Running jobs of the tier.")
    jobs_per_user: Positive | None = Field(None, description="Running jobs of one user.")
    queued_per_user: Positive | None = Field(
        None, description="Jobs of one user that run or wait; sbatch refuses more."
    )


class Tier(Section):
    """A class of service: how important a job is and what it may be interrupted by."""

    qos: Name = Field(description="QOS of the tier.")
    partition: Word | None = Field(None, description="Partition of the tier.")
    preemptible: bool = Field(False, description="May be requeued for a higher tier.")
    priority: Annotated[int, Field(ge=0, le=2**31)] | None = Field(
        None, description="Priority of its jobs. Default: by order, the first tier highest."
    )
    preempts: list[Line] | None = Field(
        None,
        description="Tiers whose jobs it may push aside. Default: every preemptible tier of lower"
        " priority.",
    )
    grace_s: int = Field(
        60, ge=0, le=65533, description="Seconds from TERM to KILL when it is pushed aside."
    )
    on_preempt: Literal["requeue", "cancel"] = Field(
        "requeue", description="What becomes of a job that is pushed aside."
    )
    runs_at_least: Duration | None = Field(
        None, description="Time that a job has before it may be pushed aside."
    )
    usage_factor: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="What an hour counts in fair share.",
    )
    limits: TierLimits = Field(
        default_factory=TierLimits, description="What its jobs may have at once."
    )


class AccountLimits(Section):
    """What an account and those below it may have."""

    total: Amount | None = Field(None, description="All its jobs together.")
    gpu_hours: Positive | None = Field(
        None, description="GPU hours in all; usage decays only where Slurm is told so."
    )
    jobs: Positive | None = Field(None, description="Running jobs.")


class Account(Section):
    """Who pays: a group of users, its share of the cluster, and the tiers it may use."""

    description: Title | None = Field(None, description="What it is, for people.")
    organization: Title | None = Field(None, description="Whom it belongs to, for people.")
    parent: Name | None = Field(None, description="Account above it. Default: root.")
    fair_share: Positive | None = Field(
        None, description="Shares next to those of its siblings. Default: 1."
    )
    tiers: list[Line] | None = Field(
        None, description="Tiers its jobs may use. Default: as its parent."
    )
    default_tier: Line | None = Field(
        None, description="Tier of jobs that name none. Default: the last of tiers."
    )
    users: list[Name] = Field(
        default=[], description="Users; the first account that names one is that user's default."
    )
    coordinators: list[Name] = Field(
        default=[], description="Users who may add users to it, take them out and end its jobs."
    )
    limits: AccountLimits = Field(default_factory=AccountLimits, description="What it may have.")


class Billing(Section):
    """What an hour costs in fair share; TRESBillingWeights of every partition."""

    gpu: float = Field(1.0, ge=0, allow_inf_nan=False, description="A GPU.")
    cpu: float = Field(0.0, ge=0, allow_inf_nan=False, description="A CPU.")
    memory_gib: float = Field(0.0, ge=0, allow_inf_nan=False, description="A GiB of memory.")
    by_largest: bool = Field(
        False, description="A job costs the largest of these per node, not their sum."
    )
    half_life: Duration = Field("14d", description="Time after which usage counts half.")


class Roles(Section):
    """Who may change accounts; Slurm's AdminLevel."""

    administrators: list[Name] = Field(
        default=[], description="May change everything in slurmdbd and in slurmctld."
    )
    operators: list[Name] = Field(
        default=[], description="May add accounts and users, and end anybody's jobs."
    )


def priorities(tiers: dict[str, Tier]) -> dict[str, int]:
    """Return the priority of every tier; those that name none follow their order."""
    count = len(tiers)
    return {
        name: (count - index) * _STEP if tier.priority is None else tier.priority
        for index, (name, tier) in enumerate(tiers.items())
    }


def preempted(tiers: dict[str, Tier]) -> dict[str, list[str]]:
    """Return, of every tier, the tiers whose jobs it may push aside."""
    order = priorities(tiers)
    return {
        name: list(tier.preempts)
        if tier.preempts is not None
        else [
            other
            for other, candidate in tiers.items()
            if candidate.preemptible and order[other] < order[name]
        ]
        for name, tier in tiers.items()
    }


def slurm_conf_lines(site: "Site", release: Release) -> list[str]:
    """Return the lines of slurm.conf that make tiers, accounts and billing count.

    Without slurmdbd there are no QOS and no accounts: no lines.

    Args:
        site: what the cluster is.
        release: whose form to write; all of these are the same from 22.05 to 26.05.
    """
    del release
    if not site.slurm.database:
        return []
    lines = []
    if site.tiers or site.accounts:
        lines += [
            "# Jobs need an account, and stay within what their account and tier may have.",
            # No job starts that would run out of its account's GPU hours before its end.
            "AccountingStorageEnforce=associations,limits,qos,safe",
        ]
    if any(preempted(site.tiers).values()):
        lines += [
            "# A job of a higher tier pushes jobs of lower ones aside; each tier's QOS says which,",
            "# and with how much time from TERM to KILL.",
            "PreemptType=preempt/qos",
            "PreemptMode=REQUEUE",
        ]
    if site.tiers or site.billing is not None:
        lines += _priority_lines(site)
    if site.billing is not None:
        lines += [
            "# What an hour costs; all partitions below have it.",
            f'PartitionName=DEFAULT TRESBillingWeights="{weights(site.billing)}"',
        ]
    return lines


def weights(billing: Billing) -> str:
    """Return TRESBillingWeights as slurm.conf(5) has it."""
    words = [f"CPU={billing.cpu:g}"] if billing.cpu else []
    words += [f"Mem={billing.memory_gib:g}G"] if billing.memory_gib else []
    words += [f"GRES/gpu={billing.gpu:g}"] if billing.gpu else []
    return ",".join(words) or "CPU=0"  # without any weights Slurm counts CPUs


def _priority_lines(site: "Site") -> list[str]:
    billing = site.billing or Billing()
    half_life = parse_duration_s(billing.half_life)
    lines = [
        "# The tier decides first, then fair share, then age.",
        "PriorityType=priority/multifactor",
        "PriorityWeightQOS=1000000",
        "PriorityWeightFairshare=100000",
        "PriorityWeightAge=10000",
        f"PriorityDecayHalfLife={format_slurm_time(half_life) if half_life else '0'}",
    ]
    if billing.by_largest:
        lines.append("PriorityFlags=MAX_TRES")
    return lines
