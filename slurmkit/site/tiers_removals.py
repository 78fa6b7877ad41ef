"""What slurmdbd has that site.yaml does not: how it would be removed, if it is ours. Pure."""

from collections.abc import Iterator

from slurmkit.site.tiers import ROOT
from slurmkit.site.tiers_change import Change, Setting, change_of, owned
from slurmkit.site.tiers_wanted import State

#: How to remove something (nothing: it is not ours), and why it is mentioned.
Removal = tuple[tuple[Change, ...], str]


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
            yield (change,), f"{user} coordinates {account}, which site.yaml does not say"


def _members(wanted: State, found: State, ours: frozenset[str]) -> Iterator[Removal]:
    gone = {pair for pair in found.members - wanted.members if pair[0] in ours}
    for account, user in sorted(gone):
        where = (f"name={user}", f"account={account}", f"cluster={wanted.cluster}")
        words = ("delete", "user", "where", *where)
        change = Change("remove", "member", f"{user}@{account}", (), words)
        kept = sorted(other for other, name in found.members - gone if name == user)
        before = _new_default(user, account, kept, wanted, found)
        yield (*before, change), f"{user} is in account {account}, which site.yaml does not say"


def _new_default(
    user: str, account: str, kept: list[str], wanted: State, found: State
) -> tuple[Change, ...]:
    """Return how a user gets another default account: Slurm refuses to remove it (seen: 24.11)."""
    default = found.users.get(user, {}).get("defaultaccount")
    if default != account or not kept or "defaultaccount" in wanted.users.get(user, {}):
        return ()
    where = ("modify", "user", "where", f"name={user}", f"cluster={wanted.cluster}", "set")
    setting = Setting("DefaultAccount", account, kept[0])
    return (change_of("modify", "user", user, (setting,), where),)


def _accounts(wanted: State, found: State, ours: frozenset[str]) -> Iterator[Removal]:
    for account in _leaves_first(ours - set(wanted.accounts), found):
        where: tuple[str, ...] = (f"name={account}",)
        if account in found.elsewhere:
            if "parent" not in found.accounts[account]:
                continue  # of another cluster alone
            where = (*where, f"cluster={wanted.cluster}")
        change = Change("remove", "account", account, (), ("delete", "account", "where", *where))
        yield (change,), f"account {account} is not in site.yaml"
    for account in sorted(set(found.accounts) - ours - set(wanted.accounts) - {ROOT}):
        yield (), f"account {account} is not slurmkit's"


def _qos(wanted: State, found: State) -> Iterator[Removal]:
    for name, row in sorted(found.qos.items()):
        if name in wanted.qos:
            continue
        if owned(row):
            change = Change("remove", "qos", name, (), ("delete", "qos", "where", f"name={name}"))
            yield (change,), f"QOS {name} is no tier of site.yaml any more"
        elif name != "normal":  # every slurmdbd has this one
            yield (), f"QOS {name} is not slurmkit's"


def _leaves_first(accounts: frozenset[str], found: State) -> list[str]:
    def depth(name: str) -> int:
        parent = str(found.accounts.get(name, {}).get("parent") or "")
        return 0 if parent in ("", name, ROOT) else 1 + depth(parent)

    return sorted(sorted(accounts), key=depth, reverse=True)
