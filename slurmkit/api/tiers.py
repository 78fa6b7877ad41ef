"""`slurmkit site tiers`: what slurmdbd lacks of a site's tiers and accounts, and how it gets it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.site.deploy import audit
from slurmkit.site.lookup import FoundSite
from slurmkit.site.tiers_change import Change
from slurmkit.site.tiers_diff import difference
from slurmkit.site.tiers_found import QUESTIONS, found_state
from slurmkit.site.tiers_wanted import State, wanted_state
from slurmkit.slurm import accounts


@dataclass(frozen=True)
class TiersReport:
    """What was found out, and what was done.

    Attributes:
        cluster: the cluster whose accounts these are.
        changes: what differs from site.yaml, in the order in which it is done.
        notes: what is there and not in site.yaml, which stays; and what cannot be done.
        applied: whether the changes were made.
    """

    cluster: str
    changes: list[Change]
    notes: list[str]
    applied: bool


def compare_tiers(found: FoundSite, *, prune: bool = False) -> TiersReport:
    """Return what slurmdbd lacks of a site.

    Args:
        found: the site.
        prune: also what slurmkit made and site.yaml has no more.

    Raises:
        UsageError: the site has neither tiers nor accounts.
        SlurmUnreachableError: slurmdbd does not answer.
        SlurmError: sacctmgr failed.
    """
    wanted = _wanted(found)
    have = found_state(accounts.tables(QUESTIONS), wanted.cluster)
    planned = difference(wanted, have, prune=prune)
    return TiersReport(wanted.cluster, list(planned.changes), list(planned.notes), applied=False)


def apply_tiers(
    found: FoundSite,
    *,
    prune: bool = False,
    root: Path = Path("/"),
    on_change: Callable[[Change], None] | None = None,
) -> TiersReport:
    """Make slurmdbd have what a site says, and write down who does what.

    A second call does nothing. Every change is one transaction of slurmdbd; when one fails, those
    before it stand, and the next call goes on from there. The log gets what is about to be done
    before the first change, so that nothing is ever done unseen, whatever ends this process.

    Args:
        found: the site.
        prune: also remove what slurmkit made and site.yaml has no more.
        root: below which the site's log lies.
        on_change: told of every change before it is made.

    Raises:
        SlurmkitError: the log cannot be written; nothing was changed.
        RefusedError: this user may not change accounts.
        SlurmError: sacctmgr failed; the message says how far it came.
    """
    planned = compare_tiers(found, prune=prune)
    changes = planned.changes
    about = {"site": str(found.path or ""), "cluster": planned.cluster}
    if changes:
        audit.record(root, "tiers", {**about, "changes": [_line(change) for change in changes]})
    for number, change in enumerate(changes):
        if on_change is not None:
            on_change(change)
        try:
            accounts.change(change.command)
        except SlurmkitError as error:
            failed = {"made": number, "failed": _line(change), "error": error.message}
            audit.record(root, "tiers-failed", {**about, **failed})
            error.hint += f"\n    {number} of {len(changes)} changes were made before that"
            raise
    return replace(planned, applied=True)


def _line(change: Change) -> str:
    """Return a change as the log has it: ``modify qos low: Priority 100 -> 200``."""
    settings = ", ".join(
        f"{item.name} {item.old or '(none)'} -> {item.new or '(none)'}" for item in change.settings
    )
    return f"{change.action} {change.entity} {change.name}{': ' if settings else ''}{settings}"


def _wanted(found: FoundSite) -> State:
    site = found.site
    if not site.tiers and not site.accounts:
        raise UsageError(
            f"{found.path or 'the site'} has neither tiers nor accounts",
            hint="describe them under tiers: and accounts:",
        )
    return wanted_state(site)
