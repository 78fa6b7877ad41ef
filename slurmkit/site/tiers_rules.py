"""What tiers and accounts of site.yaml must not say together. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from slurmkit.site.tiers import ROOT, preempted

if TYPE_CHECKING:
    from slurmkit.site.models import Site

Found = tuple[str, str, str, str]  # message, key, hint, code


def tier_rules(site: "Site") -> Iterator[Found]:
    """Yield what is wrong with tiers and accounts."""
    yield from _tiers(site)
    yield from _names(site)
    for name, account in site.accounts.items():
        key = f"accounts.{name}"
        if account.parent not in (None, ROOT, *site.accounts):
            yield _unknown(f"{key}.parent", str(account.parent), "accounts", list(site.accounts))
        elif _in_circle(name, {one: other.parent for one, other in site.accounts.items()}):
            yield "its parents go in a circle", f"{key}.parent", "Let one be root's.", "impossible"
        for index, tier in enumerate(account.tiers or ()):
            if tier not in site.tiers:
                yield _unknown(f"{key}.tiers.{index}", tier, "tiers", list(site.tiers))
        default = account.default_tier
        if default is not None and default not in (account.tiers or ()):
            message, hint = f"{default!r} is none of its tiers", "Add it to tiers."
            yield message, f"{key}.default_tier", hint, "impossible"


def _tiers(site: "Site") -> Iterator[Found]:
    taken: dict[str, str] = {}
    for name, tier in site.tiers.items():
        key = f"tiers.{name}"
        other = taken.setdefault(tier.qos.lower(), name)
        if other != name:
            message = f"tier {other} has QOS {site.tiers[other].qos} already"
            yield message, f"{key}.qos", "Give each tier a QOS of its own.", "impossible"
        for index, item in enumerate(tier.preempts or ()):
            place = f"{key}.preempts.{index}"
            if item not in site.tiers:
                yield _unknown(place, item, "tiers", list(site.tiers))
            elif not site.tiers[item].preemptible:
                hint = f"Say preemptible: true for {item}, or leave it out here."
                yield f"{item} is not preemptible", place, hint, "impossible"
    if all(item in site.tiers for tier in site.tiers.values() for item in tier.preempts or ()):
        yield from _loops(site)


def _loops(site: "Site") -> Iterator[Found]:
    """Yield tiers that push each other aside, be it by way of others: slurmdbd refuses them."""
    lower = preempted(site.tiers)
    for name, others in lower.items():
        loops = [other for other in others if name in _reached(other, lower)]
        if loops and site.tiers[name].preempts is not None:
            message = f"{name} and {loops[0]} push each other aside"
            yield message, f"tiers.{name}.preempts", "Leave one of them out.", "impossible"


def _reached(name: str, lower: Mapping[str, Sequence[str]]) -> set[str]:
    """Return a tier and all that it pushes aside, itself or by way of others."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        tier = ahead.pop()
        if tier not in found:
            found.add(tier)
            ahead += lower[tier]
    return found


def _names(site: "Site") -> Iterator[Found]:
    taken: dict[str, str] = {}
    for name in site.accounts:
        other = taken.setdefault(name.lower(), name)
        if other != name:
            message = f"for Slurm, which knows no capitals, it is the same account as {other}"
            yield message, f"accounts.{name}", "Rename one of them.", "impossible"
        if name.lower() == ROOT:
            message = "root is Slurm's own account, above all others"
            yield message, f"accounts.{name}", "Choose another name.", "impossible"


def _in_circle(name: str, parents: Mapping[str, str | None]) -> bool:
    seen = {name}
    parent = parents.get(name)
    while parent is not None:
        if parent in seen:
            return parent == name
        seen.add(parent)
        parent = parents.get(parent)
    return False


def _unknown(key: str, name: str, section: str, known: Sequence[str]) -> Found:
    from slurmkit.yamlfile.problems import nearest  # noqa: PLC0415 - for mistakes only

    hint = nearest(name, list(known)) or f"Describe {name} under {section}."
    return f"there is no {name!r} under {section}", key, hint, "unknown-name"
