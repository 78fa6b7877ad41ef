"""From site.yaml and what slurmdbd has to sacctmgr's commands: values to values."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmkit.site.models import Site
from slurmkit.site.tiers_change import WORDS, Change, Setting
from slurmkit.site.tiers_diff import difference
from slurmkit.site.tiers_found import ACCOUNTS, ASSOCIATIONS, QOS, USERS, found_state, read_value
from slurmkit.site.tiers_wanted import State, wanted_state
from slurmkit.yamlfile.reader import read_document
from slurmkit.yamlfile.validate import build

SITE = """
name: c1
tiers:
  production: {qos: Prod, limits: {total: {gpus: 64, memory: 2T}}}
  training: {qos: train, preemptible: true, grace_s: 90, runs_at_least: 10m}
  play: {qos: play, preemptible: true, on_preempt: cancel, usage_factor: 0.5}
accounts:
  speech: {parent: lab, tiers: [play], users: [user2, user3]}
  lab: {fair_share: 5, limits: {gpu_hours: 10}}
  vision: {parent: lab, tiers: [production, training], users: [user1, user2]}
roles: {operators: [user3]}
"""


def site(text: str = SITE) -> Site:
    return build(Site, read_document(text.encode(), "site.yaml"))


def tables(**rows: list[Mapping[str, str]]) -> dict[str, Any]:
    """Return sacctmgr's tables with these rows; columns that are left out are empty."""
    columns = {"qos": QOS, "associations": ASSOCIATIONS, "accounts": ACCOUNTS, "users": USERS}
    return {
        "clusters": [{"cluster": "c1"}],
        **{
            name: [{**dict.fromkeys(kinds, ""), **row} for row in rows.get(name, ())]
            for name, kinds in columns.items()
        },
    }


def commands(text: str = SITE, *, prune: bool = False, **rows: Any) -> list[str]:
    found = found_state(tables(**rows), "c1")
    return [
        " ".join(change.command)
        for change in difference(wanted_state(site(text)), found, prune=prune).changes
    ]


def done(state: State, changes: tuple[Change, ...]) -> State:
    """Return what slurmdbd would have after these changes; a slurmdbd of a few lines."""
    columns = {word.lower(): column for column, word in WORDS.items()}
    qos = {name: dict(row) for name, row in state.qos.items()}
    accounts = {name: dict(row) for name, row in state.accounts.items()}
    users = {name: dict(row) for name, row in state.users.items()}
    members, coordinators = set(state.members), set(state.coordinators)
    kinds = {**USERS, **QOS, **ASSOCIATIONS, "parent": "word", "organization": "text"}
    for change in changes:
        rows: dict[str, dict[str, Any]] = {"qos": qos, "account": accounts, "user": users}.get(
            change.entity, {}
        )
        for setting in change.settings:
            row = rows.setdefault(change.name, {})
            column = columns[setting.name.lower()]
            new = setting.new
            if new.isdigit() and kinds[column] == "seconds":
                row[column] = int(new)
            else:
                row[column] = read_value(new, kinds[column])
        user, _, account = change.name.partition("@")
        if change.entity == "member" and change.action == "add":
            members.add((account, user))
            users.setdefault(user, {"defaultaccount": account})
        elif change.entity == "member":
            members.discard((account, user))
        elif change.entity == "coordinator" and change.action == "add":
            coordinators.add((account, user))
        elif change.entity == "coordinator":
            coordinators.discard((account, user))
        elif change.action == "remove":
            rows.pop(change.name)
    return State(
        cluster=state.cluster,
        clusters=state.clusters | {state.cluster},
        qos=qos,
        accounts=accounts,
        users=users,
        members=frozenset(members),
        coordinators=frozenset(coordinators),
        elsewhere=state.elsewhere,
    )


def test_an_empty_slurmdbd_gets_all_in_an_order_that_works() -> None:
    found = commands()
    assert found[0].startswith("add qos prod Description=slurmkit: tier production Priority=300 ")
    assert "GrpTRES=gres/gpu=64,mem=2097152M" in found[0]
    assert "PreemptMode=requeue" in found[1]
    assert "GraceTime=90" in found[1]
    assert "PreemptExemptTime=00:10:00" in found[1]
    assert "PreemptMode=cancel" in found[2]
    assert "UsageFactor=0.5" in found[2]
    assert found[3] == "modify qos where name=prod set Preempt+=play,train"
    assert found[4] == "modify qos where name=train set Preempt+=play"
    order = [
        next(i for i, word in enumerate(found) if f"account {name}" in word)
        for name in ("lab", "speech", "vision")
    ]
    assert order[0] == min(order), "the parent comes first"
    assert any(
        word.startswith("add account lab cluster=c1 Description=slurmkit: lab")
        and word.endswith("Parent=root Fairshare=5 GrpTRESMins=gres/gpu=600")
        for word in found
    )
    link = "modify account where name=vision cluster=c1 set QosLevel=prod,train DefaultQOS=train"
    assert found.index(link) > found.index(next(w for w in found if "add account vision" in w))
    users = [word for word in found if word.startswith("add user")]
    # The first account that names user2 is its default; the first association makes it so.
    assert users == [
        "add user user1 account=vision cluster=c1",
        "add user user2 account=speech cluster=c1",
        "add user user2 account=vision cluster=c1",
        "add user user3 account=speech cluster=c1",
    ]
    assert "modify user where name=user3 set AdminLevel=operator" in found


def test_what_is_as_wanted_needs_nothing() -> None:
    wanted = wanted_state(site())
    empty = State("c1")
    after = done(empty, difference(wanted, empty).changes)
    assert difference(wanted, after).changes == ()
    assert difference(wanted, after, prune=True).changes == ()


_TIERS = st.lists(
    st.fixed_dictionaries(
        {
            "preemptible": st.booleans(),
            "grace_s": st.integers(0, 500),
            "usage_factor": st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        },
        optional={
            "priority": st.integers(0, 1000),
            "limits": st.fixed_dictionaries(
                {},
                optional={
                    "total": st.fixed_dictionaries({}, optional={"gpus": st.integers(1, 99)}),
                    "max_time": st.sampled_from(["1h", "2d"]),
                    "jobs": st.integers(1, 9),
                },
            ),
        },
    ),
    min_size=1,
    max_size=4,
)


@given(_TIERS, _TIERS)
def test_from_any_site_to_any_other_and_then_nothing(one: list[Any], other: list[Any]) -> None:
    def state(tiers: list[Any]) -> State:
        named = {f"t{i}": {"qos": f"q{i}", **tier} for i, tier in enumerate(tiers)}
        text = {"name": "c1", "tiers": named, "accounts": {"lab": {"tiers": list(named)}}}
        return wanted_state(Site.model_validate(text))

    found = State("c1")
    for wanted in (state(one), state(other)):
        found = done(found, difference(wanted, found, prune=True).changes)
        assert difference(wanted, found, prune=True).changes == ()


def test_a_qos_of_others_keeps_what_site_yaml_does_not_name() -> None:
    text = "name: c1\ntiers: {low: {qos: normal}, high: {qos: high}}\n"
    have = {"name": "normal", "description": "Normal QOS default", "maxwall": "01:00:00",
            "preempt": "foreign", "usagefactor": "1.000000", "preemptmode": "cluster"}  # fmt: skip
    found = [word for word in commands(text, qos=[have]) if "name=normal" in word]
    assert found == ["modify qos where name=normal set Priority=200"]


def test_our_own_qos_loses_what_site_yaml_names_no_more() -> None:
    have = {"name": "high", "description": "slurmkit: tier high", "maxwall": "01:00:00",
            "grptres": "cpu=4,gres/gpu=8", "priority": "100", "maxjobspu": "3",
            "usagefactor": "1.000000", "preemptmode": "cluster"}  # fmt: skip
    text = "name: c1\ntiers: {high: {qos: high, limits: {total: {cpus: 4}}}}\n"
    assert commands(text, qos=[have]) == [
        "modify qos where name=high set GrpTRES=cpu=4,gres/gpu=-1 MaxWall=-1 MaxJobsPerUser=-1"
    ]


def test_times_are_shown_as_sacctmgr_shows_them() -> None:
    have = {"name": "high", "description": "slurmkit: tier high", "maxwall": "01:00:00",
            "priority": "100", "usagefactor": "1.000000", "preemptmode": "cluster"}  # fmt: skip
    text = "name: c1\ntiers: {high: {qos: high, limits: {max_time: 36h}}}\n"
    found = found_state(tables(qos=[have]), "c1")
    (change,) = difference(wanted_state(site(text)), found).changes
    assert change.settings == (Setting("MaxWall", "01:00:00", "1-12:00:00"),)
    assert change.command[-1] == "MaxWall=1-12:00:00"


def test_an_account_of_ours_without_tiers_has_those_of_its_parent_again() -> None:
    def rows(description: str, qos: str) -> dict[str, Any]:
        links = [("root", "", "normal"), ("lab", "root", "play"), ("below", "lab", qos)]
        return {
            "accounts": [{"account": "below", "description": description, "organization": "o"}],
            "associations": [
                {"cluster": "c1", "account": name, "parentname": parent, "fairshare": "1",
                 "qos": words, "defaultqos": words}
                for name, parent, words in links
            ],
        }  # fmt: skip

    text = "name: c1\ntiers: {play: {qos: play}}\naccounts:\n  lab: {tiers: [play]}\n"
    text += "  below: {parent: lab, organization: o}\n"

    def found(description: str, qos: str) -> list[str]:
        return [word for word in commands(text, **rows(description, qos)) if "below" in word]

    clearing = "modify account where name=below cluster=c1 set QosLevel= DefaultQOS=-1"
    assert found("slurmkit: below", "old") == [clearing]
    assert found("slurmkit: below", "play") == [], "it has its parent's"
    assert found("of others", "old") == []


def test_an_account_of_others_keeps_its_qos_and_its_description() -> None:
    rows: dict[str, Any] = {
        "accounts": [{"account": "lab", "description": "Physics", "organization": "uni"}],
        "associations": [
            {"cluster": "c1", "account": "lab", "parentname": "root", "fairshare": "1",
             "qos": "normal,play"},
        ],
        "qos": [],
    }  # fmt: skip
    text = "name: c1\ntiers: {play: {qos: play}, work: {qos: work}}\n"
    text += "accounts: {lab: {tiers: [work]}}\n"
    found = [word for word in commands(text, **rows) if "lab" in word]
    assert found == [
        "modify account where name=lab cluster=c1 set QosLevel=normal,work DefaultQOS=work"
    ]


def test_only_what_is_ours_is_removed_and_only_when_told() -> None:
    rows: dict[str, Any] = {
        "qos": [
            {"name": "old", "description": "slurmkit: tier old"},
            {"name": "foreign", "description": "of others"},
            {"name": "normal", "description": "Normal QOS default"},
        ],
        "accounts": [
            {"account": "ours", "description": "slurmkit: ours", "coordinators": "user9"},
            {"account": "below", "description": "slurmkit: below"},
            {"account": "theirs", "description": "theirs"},
            {"account": "root", "description": "default root account"},
        ],
        "associations": [
            {"cluster": "c1", "account": "ours", "parentname": "root"},
            {"cluster": "c1", "account": "below", "parentname": "ours"},
            {"cluster": "c1", "account": "below", "user": "user9"},
            {"cluster": "c1", "account": "theirs", "parentname": "root"},
            {"cluster": "c1", "account": "theirs", "user": "user8"},
            {"cluster": "c2", "account": "ours", "parentname": "root"},
        ],
    }
    text = "name: c1\ntiers: {play: {qos: play}}\n"
    assert not [word for word in commands(text, **rows) if "delete" in word]
    assert [word for word in commands(text, prune=True, **rows) if "delete" in word] == [
        "delete coordinator account=ours names=user9",
        "delete user where name=user9 account=below cluster=c1",
        "delete account where name=below",
        "delete account where name=ours cluster=c1",
        "delete qos where name=old",
    ]
    kept = difference(wanted_state(site(text)), found_state(tables(**rows), "c1"), prune=True).notes
    assert kept == ("kept: account theirs is not slurmkit's", "kept: QOS foreign is not slurmkit's")


def test_who_loses_the_default_account_gets_another_one_first() -> None:
    rows: dict[str, Any] = {
        "accounts": [
            {"account": "ours", "description": "slurmkit: ours"},
            {"account": "theirs", "description": "theirs"},
        ],
        "associations": [
            {"cluster": "c1", "account": "ours", "parentname": "root"},
            {"cluster": "c1", "account": "ours", "user": "user8"},
            {"cluster": "c1", "account": "ours", "user": "user9"},
            {"cluster": "c1", "account": "theirs", "parentname": "root"},
            {"cluster": "c1", "account": "theirs", "user": "user9"},
        ],
        "users": [
            {"user": "user8", "defaultaccount": "ours"},
            {"user": "user9", "defaultaccount": "ours"},
        ],
    }
    text = "name: c1\ntiers: {play: {qos: play}}\n"
    found = [word for word in commands(text, prune=True, **rows) if "name=user" in word]
    assert found == [
        "delete user where name=user8 account=ours cluster=c1",
        "modify user where name=user9 cluster=c1 set DefaultAccount=theirs",
        "delete user where name=user9 account=ours cluster=c1",
    ]


def test_roles_of_strangers_are_mentioned() -> None:
    text = "name: c1\naccounts: {lab: {coordinators: [user7]}}\nroles: {operators: [user8]}\n"
    found = difference(wanted_state(site(text)), found_state(tables(), "c1"))
    assert [change.entity for change in found.changes] == ["account"]
    assert found.notes == (
        "user8 is in no account, and cannot be made operator",
        "user7 is in no account, and cannot coordinate lab",
    )


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("", "number", None),
        ("-1", "number", None),
        ("7", "number", 7),
        ("00:00:00", "seconds", 0),
        ("1-00:00:00", "seconds", 86400),
        ("00:00:30", "seconds", 30),
        ("2.000000", "ratio", 2.0),
        ("b,A", "set", frozenset("ab")),
        ("cpu=4,mem=2T,gres/gpu=8", "tres", {"cpu": 4, "mem": 2097152, "gres/gpu": 8}),
        ("cpu=-1", "tres", {}),
        ("Requeue", "word", "requeue"),
    ],
)
def test_columns(text: str, kind: Any, value: object) -> None:
    assert read_value(text, kind) == value
