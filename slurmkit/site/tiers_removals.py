"""What slurmdbd has that site.yaml does not: how it would be removed, if it is ours. Pure."""

from collections.abc import Iterator

from slurmkit.site.tiers import ROOT
from slurmkit.site.tiers_change import Change, owned
from slurmkit.site.tiers_wanted import State

#: How to remove something (None: it is not ours), and why it is mentioned.
Removal = tuple[Change | None, str]


def removals(wanted: State, found: State) -> Iterator[Removal]:
    """Yield what is there and not wanted, in an order in which it can be removed."""
    ours = frozenset(name for name, row in found.accounts.items() if owned(row))
    yield from _coordinators(wanted, found, ours)
    yield from _members(wanted, found, ours)
    yield from _accounts(wanted, found, ours)
    yield from _qos(wanted, found)


def _coordinators(wanted: State, found: State, ours: frozenset[str]) -> Iterator[Removal]:
    for account, user in sorted(found.coordinators - wanted.coordinators):
        if account in ours:
            words = ("delete", "coordinator", f"account={account}", f"names={user}")
            change = Change("remove", "coordinator", f"{user}@{account}", (), words)
            yield change, f"{user} coordinates {account}, which site.yaml does not say"


def _members(wanted: State, found: State, ours: frozenset[str]) -> Iterator[Removal]:
    for account, user in sorted(found.members - wanted.members):
        if account in ours:
            where = (f"name={user}", f"account={account}", f"cluster={wanted.cluster}")
            words = ("delete", "user", "where", *where)
            change = Change("remove", "member", f"{user}@{account}", (), words)
            yield change, f"{user} is in account {account}, which site.yaml does not say"


def _accounts(wanted: State, found: State, ours: frozenset[str]) -> Iterator[Removal]:
    for account in _leaves_first(ours - set(wanted.accounts), found):
        where: tuple[str, ...] = (f"name={account}",)
        if account in found.elsewhere:
            if "parent" not in found.accounts[account]:
                continue  # of another cluster alone
            where = (*where, f"cluster={wanted.cluster}")
        change = Change("remove", "account", account, (), ("delete", "account", "where", *where))
        yield change, f"account {account} is not in site.yaml"
    for account in sorted(set(found.accounts) - ours - set(wanted.accounts) - {ROOT}):
        yield None, f"account {account} is not slurmkit's"


def _qos(wanted: State, found: State) -> Iterator[Removal]:
    for name, row in sorted(found.qos.items()):
        if name in wanted.qos:
            continue
        if owned(row):
            change = Change("remove", "qos", name, (), ("delete", "qos", "where", f"name={name}"))
            yield change, f"QOS {name} is no tier of site.yaml any more"
        elif name != "normal":  # every slurmdbd has this one
            yield None, f"QOS {name} is not slurmkit's"


def _leaves_first(accounts: frozenset[str], found: State) -> list[str]:
    def depth(name: str) -> int:
        parent = str(found.accounts.get(name, {}).get("parent") or "")
        return 0 if parent in ("", name, ROOT) else 1 + depth(parent)

    return sorted(sorted(accounts), key=depth, reverse=True)
