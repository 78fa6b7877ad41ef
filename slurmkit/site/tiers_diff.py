"""From what slurmdbd shall have and what it has to what must be done, in an order that works. Pure.

What slurmkit did not make is never taken away: a QOS or an account that was there before keeps
every setting that site.yaml does not name, users whom a coordinator has added stay, and what has
gone from site.yaml is removed only when told, and only if slurmkit made it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from slurmkit.site.tiers_change import (
    WORDS,
    Change,
    Setting,
    change_of,
    differing,
    owned,
    text_of,
    words_of,
)
from slurmkit.site.tiers_removals import removals
from slurmkit.site.tiers_wanted import Row, State

# What an account itself has, in all clusters; the rest belongs to its association with one.
_OF_ACCOUNT = ("description", "organization")
# Refer to other rows, which must be there first.
_LATER = ("preempt", "qos", "defaultqos")


@dataclass(frozen=True)
class Difference:
    """What must be done, and what is left alone.

    Attributes:
        changes: in this order.
        notes: what is there and not in site.yaml, and what cannot be done, one sentence each.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def difference(wanted: State, found: State, *, prune: bool = False) -> Difference:
    """Return what must be done so that slurmdbd has what is wanted.

    Args:
        wanted: from site.yaml.
        found: from slurmdbd.
        prune: also remove what slurmkit made and site.yaml has no more.
    """
    changes = [
        *_clusters(wanted, found),
        *_qos(wanted, found),
        *_accounts(wanted, found),
        *_users(wanted, found),
        *_links(wanted, found),
        *_coordinators(wanted, found),
    ]
    extra = list(removals(wanted, found))
    if prune:
        changes += [change for steps, _ in extra for change in steps]
    notes = [f"kept: {why}" for steps, why in extra if not steps or not prune]
    return Difference(tuple(changes), (*_unknown_users(wanted, found), *notes))


def _clusters(wanted: State, found: State) -> Iterator[Change]:
    for name in sorted(wanted.clusters - found.clusters):
        yield Change("add", "cluster", name, (), ("add", "cluster", name))


def _qos(wanted: State, found: State) -> Iterator[Change]:
    """Add QOS and set what they lack; then who pushes whom aside, now that all are there."""
    for name, row in wanted.qos.items():
        have = found.qos.get(name)
        if have is None:
            settings = differing(_without(row, _LATER), {}, own=False)
            yield change_of("add", "qos", name, settings, ("add", "qos", name))
            continue
        # The description of a QOS that others made stays.
        kept = _LATER if owned(have) else (*_LATER, "description")
        if settings := differing(_without(row, kept), have, own=owned(have)):
            where = ("modify", "qos", "where", f"name={name}", "set")
            yield change_of("modify", "qos", name, settings, where)
    yield from _preemption(wanted, found)


def _preemption(wanted: State, found: State) -> Iterator[Change]:
    """Take words out before others come in, so that no QOS ever pushes itself aside.

    Never by ``Preempt=``: 22.05 then takes a QOS without any for one that pushes all aside, and
    sees loops where there are none (measured on 22.05.8).
    """
    before = {name: words_of(found.qos.get(name, {}).get("preempt")) for name in wanted.qos}
    target = {name: words_of(row.get("preempt")) for name, row in wanted.qos.items()}
    for name, have in before.items():
        if not owned(found.qos.get(name)):
            target[name] |= have - set(wanted.qos)  # a QOS of others keeps what it had besides
        if gone := have - target[name]:
            yield _preempts(name, have, have - gone, ("-", gone))
    for name, have in before.items():
        if new := target[name] - have:
            yield _preempts(name, have & target[name], target[name], ("+", new))


def _preempts(
    name: str, old: frozenset[str], new: frozenset[str], step: tuple[str, frozenset[str]]
) -> Change:
    setting = Setting("Preempt", text_of(old), text_of(new))
    word = f"Preempt{step[0]}={text_of(step[1])}"
    command = ("modify", "qos", "where", f"name={name}", "set", word)
    return Change("modify", "qos", name, (setting,), command)


def _accounts(wanted: State, found: State) -> Iterator[Change]:
    cluster = wanted.cluster
    for name, row in wanted.accounts.items():
        have = found.accounts.get(name)
        if have is None or "parent" not in have:
            # In slurmdbd for another cluster perhaps; its description is not ours to change then.
            fresh = _without(row, _LATER if have is None else (*_LATER, *_OF_ACCOUNT))
            settings = differing(fresh, {}, own=False)
            words = ("add", "account", name, f"cluster={cluster}")
            yield change_of("add", "account", name, settings, words)
            continue
        own = owned(have)
        about = differing(_only(row, _OF_ACCOUNT), have, own=own) if own else ()
        if about:
            where = ("modify", "account", "where", f"name={name}", "set")
            yield change_of("modify", "account", name, about, where)
        settings = differing(_without(row, (*_OF_ACCOUNT, *_LATER)), have, own=own)
        if settings:
            yield change_of("modify", "account", name, settings, _of_account(name, cluster))


def _links(wanted: State, found: State) -> Iterator[Change]:
    """Set which QOS accounts may use, now that all of them are there."""
    for name, row in wanted.accounts.items():
        allowed = words_of(row.get("qos"))
        have = found.accounts.get(name)
        if not allowed:
            yield from _inheritance(name, have or {}, found)
            continue
        before = words_of(have.get("qos")) if have else frozenset()
        own = have is None or "parent" not in have or owned(have)
        # Others' accounts keep what QOS they had besides our tiers.
        target = allowed if own else allowed | (before - set(wanted.qos))
        settings = []
        if before != target:
            settings.append(Setting("QosLevel", text_of(before), text_of(target)))
        old = str((have or {}).get("defaultqos") or "")
        if old != row["defaultqos"]:
            settings.append(Setting("DefaultQOS", old, str(row["defaultqos"])))
        if settings:
            where = _of_account(name, wanted.cluster)
            yield change_of("modify", "account", name, tuple(settings), where)


def _inheritance(name: str, have: Row, found: State) -> Iterator[Change]:
    """Let an account of ours have its parent's tiers again, if it has others.

    What is inherited is shown like what is set, so that only a difference tells.
    """
    above = found.accounts.get(str(have.get("parent")), {})
    settings = tuple(
        Setting(WORDS[column], text_of(have.get(column)), "")
        for column in ("qos", "defaultqos")
        if have.get(column) != above.get(column)
    )
    if settings and above and owned(have):
        yield change_of("modify", "account", name, settings, _of_account(name, found.cluster))


def _of_account(name: str, cluster: str) -> tuple[str, ...]:
    return ("modify", "account", "where", f"name={name}", f"cluster={cluster}", "set")


def _users(wanted: State, found: State) -> Iterator[Change]:
    cluster = wanted.cluster
    known = set(found.users)
    # The first association of a user names the default account, so that one is made first.
    pairs = sorted(wanted.members, key=lambda pair: (pair[1], pair != _default(wanted, pair[1])))
    for account, user in pairs:
        if (account, user) not in found.members:
            known.add(user)
            words = ("add", "user", user, f"account={account}", f"cluster={cluster}")
            yield Change("add", "member", f"{user}@{account}", (), words)
    for user, row in wanted.users.items():
        have = found.users.get(user, {})
        settings = []
        for name in ("defaultaccount", "adminlevel"):
            new, old = row.get(name), have.get(name)
            made = user not in found.users and name == "defaultaccount"
            if new is not None and new != old and not made and user in known:
                settings.append(Setting(WORDS[name], str(old or ""), str(new)))
        if settings:
            where = ("modify", "user", "where", f"name={user}", "set")
            yield change_of("modify", "user", user, tuple(settings), where)


def _unknown_users(wanted: State, found: State) -> Iterator[str]:
    """Yield roles of users whom slurmdbd does not know: it gives roles to users of accounts."""
    known = {*found.users, *(user for _, user in wanted.members)}
    for user, row in wanted.users.items():
        if user not in known:
            yield f"{user} is in no account, and cannot be made {row['adminlevel']}"
    for account, user in sorted(wanted.coordinators):
        if user not in known:
            yield f"{user} is in no account, and cannot coordinate {account}"


def _default(wanted: State, user: str) -> tuple[str, str]:
    return str(wanted.users.get(user, {}).get("defaultaccount") or ""), user


def _coordinators(wanted: State, found: State) -> Iterator[Change]:
    known = {*found.users, *(user for _, user in wanted.members)}
    for account, user in sorted(wanted.coordinators - found.coordinators):
        if user not in known:
            continue
        words = ("add", "coordinator", f"account={account}", f"names={user}")
        yield Change("add", "coordinator", f"{user}@{account}", (), words)


def _only(row: Row, names: tuple[str, ...]) -> Row:
    return {name: value for name, value in row.items() if name in names}


def _without(row: Row, names: tuple[str, ...]) -> Row:
    return {name: value for name, value in row.items() if name not in names}
