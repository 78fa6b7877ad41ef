"""`slurmkit site tiers`: what slurmdbd lacks of a site's tiers and accounts, and how it gets it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from slurmkit.errors import SlurmkitError, UsageError
from slurmkit.site.deploy import audit
from slurmkit.site.lookup import FoundSite
from slurmkit.site.tiers_change import Change
from slurmkit.site.tiers_diff import Difference, difference
from slurmkit.site.tiers_found import QUESTIONS, found_state
from slurmkit.site.tiers_wanted import State, wanted_state
from slurmkit.slurm.accounts import AccountManager


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


def compare_tiers(
    found: FoundSite, *, prune: bool = False, manager: AccountManager | None = None
) -> Difference:
    """Return what slurmdbd lacks of a site.

    Args:
        found: the site.
        prune: also what slurmkit made and site.yaml has no more.
        manager: the door to slurmdbd; None for this machine's sacctmgr.

    Raises:
        UsageError: the site has neither tiers nor accounts.
        SlurmUnreachableError: slurmdbd does not answer.
        SlurmError: sacctmgr failed.
    """
    wanted = _wanted(found)
    have = found_state((manager or AccountManager()).tables(QUESTIONS), wanted.cluster)
    return difference(wanted, have, prune=prune)


def apply_tiers(
    found: FoundSite,
    *,
    prune: bool = False,
    root: Path = Path("/"),
    on_change: Callable[[Change], None] | None = None,
    manager: AccountManager | None = None,
) -> TiersReport:
    """Make slurmdbd have what a site says, and write down who did what.

    A second call does nothing. Every change is one transaction of slurmdbd; when one fails, those
    before it stand and are written down, and the next call goes on from there.

    Args:
        found: the site.
        prune: also remove what slurmkit made and site.yaml has no more.
        root: below which the site's log lies.
        on_change: told of every change before it is made.
        manager: the door to slurmdbd; None for this machine's sacctmgr.

    Raises:
        RefusedError: this user may not change accounts.
        SlurmError: sacctmgr failed; the message says how far it came.
    """
    manager = manager or AccountManager()
    wanted = _wanted(found)
    planned = compare_tiers(found, prune=prune, manager=manager)
    done: list[Change] = []
    try:
        for change in planned.changes:
            if on_change is not None:
                on_change(change)
            manager.change(change.command)
            done.append(change)
    except SlurmkitError as error:
        error.hint += f"\n    {len(done)} of {len(planned.changes)} changes were made before that"
        raise
    finally:
        if done:
            audit.record(root, "tiers", _details(found, wanted.cluster, done))
    return TiersReport(wanted.cluster, done, list(planned.notes), applied=True)


def _details(found: FoundSite, cluster: str, done: list[Change]) -> dict[str, object]:
    return {
        "site": str(found.path or ""),
        "cluster": cluster,
        "changes": [
            {key: value for key, value in asdict(change).items() if key != "command"}
            for change in done
        ],
    }


def _wanted(found: FoundSite) -> State:
    site = found.site
    if not site.tiers and not site.accounts:
        raise UsageError(
            f"{found.path or 'the site'} has neither tiers nor accounts",
            hint="describe them under tiers: and accounts:",
        )
    return wanted_state(site)
