"""site.yaml's tiers and accounts as rows of slurmdbd, in one form with what is found. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmkit.site.generate.slurm_conf import cluster_name
from slurmkit.site.tiers import ROOT, Account, Amount, Tier, preempted, priorities
from slurmkit.units import parse_duration_s, parse_size_mib

if TYPE_CHECKING:
    from slurmkit.site.models import Site

#: Begins the description of what slurmkit has made; only that is taken away again.
MARK = "slurmkit: "

#: What a value is: a number, seconds, a ratio, a word, a set of words, amounts by TRES.
Value = int | float | str | frozenset[str] | Mapping[str, int] | None
Row = dict[str, Value]


@dataclass(frozen=True)
class State:
    """What slurmdbd has, or shall have.

    Attributes:
        cluster: name of the cluster.
        clusters: clusters that are known.
        qos: by name, settings by the words of ``sacctmgr show qos format=``.
        accounts: by name: ``description``, ``organization``, and of its association with the
            cluster ``parent``, ``fairshare``, ``qos``, ``defaultqos``, ``grptres``, ``grptresmins``
            and ``grpjobs``; the latter are missing where it has none.
        users: by name: ``defaultaccount`` and ``adminlevel``.
        members: (account, user) pairs with an association.
        coordinators: (account, user) pairs.
        elsewhere: accounts that have an association with another cluster.
    """

    cluster: str
    clusters: frozenset[str] = frozenset()
    qos: Mapping[str, Row] = field(default_factory=dict)
    accounts: Mapping[str, Row] = field(default_factory=dict)
    users: Mapping[str, Row] = field(default_factory=dict)
    members: frozenset[tuple[str, str]] = frozenset()
    coordinators: frozenset[tuple[str, str]] = frozenset()
    elsewhere: frozenset[str] = frozenset()


def wanted_state(site: "Site") -> State:
    """Return what slurmdbd shall have for a site."""
    users: dict[str, Row] = {}
    for name, account in site.accounts.items():
        for user in account.users:
            users.setdefault(user.lower(), {"defaultaccount": name.lower()})
    for level, names in (
        ("operator", site.roles.operators),
        ("administrator", site.roles.administrators),
    ):
        for user in names:
            users.setdefault(user.lower(), {})["adminlevel"] = level
    cluster = cluster_name(site).lower()
    return State(
        cluster=cluster,
        clusters=frozenset({cluster}),
        qos=_qos(site),
        accounts={
            name.lower(): _account(name, account, site.tiers)
            for name, account in _parents_first(site.accounts).items()
        },
        users=users,
        members=frozenset(
            (name.lower(), user.lower())
            for name, account in site.accounts.items()
            for user in account.users
        ),
        coordinators=frozenset(
            (name.lower(), user.lower())
            for name, account in site.accounts.items()
            for user in account.coordinators
        ),
    )


def _qos(site: "Site") -> dict[str, Row]:
    order, lower = priorities(site.tiers), preempted(site.tiers)
    found: dict[str, Row] = {}
    for name, tier in site.tiers.items():
        limits = tier.limits
        found[tier.qos.lower()] = {
            "description": f"{MARK}tier {name}",
            "priority": order[name],
            "preempt": frozenset(site.tiers[other].qos.lower() for other in lower[name]),
            # Where nothing pushes it aside these mean nothing, and stay as they are by default.
            "preemptmode": tier.on_preempt if _is_target(name, lower) else "cluster",
            "gracetime": tier.grace_s if _is_target(name, lower) else 0,
            "preemptexempttime": _seconds(tier.runs_at_least),
            "usagefactor": tier.usage_factor,
            "grptres": _tres(limits.total),
            "maxtrespu": _tres(limits.per_user),
            "maxtrespa": _tres(limits.per_account),
            "maxtres": _tres(limits.per_job),
            "maxwall": _seconds(limits.max_time),
            "grpjobs": limits.jobs,
            "maxjobspu": limits.jobs_per_user,
            "maxsubmitpu": limits.queued_per_user,
        }
    return found


def _is_target(name: str, lower: Mapping[str, list[str]]) -> bool:
    return any(name in others for others in lower.values())


def _account(name: str, account: Account, tiers: Mapping[str, Tier]) -> Row:
    limits = account.limits
    allowed = None if account.tiers is None else [tiers[tier].qos.lower() for tier in account.tiers]
    default = account.default_tier
    row: Row = {
        "description": f"{MARK}{account.description or name}",
        "organization": account.organization or "slurmkit",
        "parent": (account.parent or ROOT).lower(),
        "fairshare": account.fair_share or 1,
        "grptres": _tres(limits.total),
        "grptresmins": {} if limits.gpu_hours is None else {"gres/gpu": limits.gpu_hours * 60},
        "grpjobs": limits.jobs,
    }
    if allowed:
        row["qos"] = frozenset(allowed)
        row["defaultqos"] = tiers[default].qos.lower() if default is not None else allowed[-1]
    return row


def _parents_first(accounts: Mapping[str, Account]) -> dict[str, Account]:
    """Return the accounts in an order in which each one's parent comes before it."""
    ordered: dict[str, Account] = {}

    def place(name: str) -> None:
        account = accounts[name]
        parent = account.parent
        if parent is not None and parent in accounts and parent not in ordered:
            place(parent)
        ordered.setdefault(name, account)

    for name in accounts:
        place(name)
    return ordered


def _tres(amount: Amount | None) -> dict[str, int]:
    if amount is None:
        return {}
    memory = None if amount.memory is None else parse_size_mib(amount.memory)
    named = {"cpu": amount.cpus, "gres/gpu": amount.gpus, "mem": memory, "node": amount.nodes}
    return {name: value for name, value in named.items() if value is not None}


def _seconds(duration: str | int | None) -> int | None:
    return None if duration is None else parse_duration_s(duration)
