"""What slurmdbd has, from the columns that sacctmgr prints: one form for every release. Pure.

The columns are the same from 22.05 to 26.05, while the JSON is not: Debian's 22.05 is built without
it, and 24.11 has another shape than 23.11.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from slurmkit.site.tiers_wanted import Row, State, Value
from slurmkit.units import parse_duration_s, parse_size_mib

Kind = Literal["number", "seconds", "ratio", "word", "set", "tres", "text"]

#: Columns of each question, and what their values are. A table of text columns ends with the one
#: that may hold anything.
QOS: dict[str, Kind] = {
    "name": "word",
    "priority": "number",
    "preempt": "set",
    "preemptmode": "word",
    "gracetime": "seconds",
    "preemptexempttime": "seconds",
    "usagefactor": "ratio",
    "grptres": "tres",
    "maxtrespu": "tres",
    "maxtrespa": "tres",
    "maxtres": "tres",
    "maxwall": "seconds",
    "grpjobs": "number",
    "maxjobspu": "number",
    "maxsubmitpu": "number",
    "description": "text",
}
ASSOCIATIONS: dict[str, Kind] = {
    "cluster": "word",
    "account": "word",
    "parentname": "word",
    "user": "word",
    "partition": "word",
    "fairshare": "number",
    "qos": "set",
    "defaultqos": "word",
    "grptres": "tres",
    "grptresmins": "tres",
    "grpjobs": "number",
}
ACCOUNTS: dict[str, Kind] = {
    "account": "word",
    "coordinators": "set",
    "organization": "text",
    "description": "text",
}
USERS: dict[str, Kind] = {"user": "word", "defaultaccount": "word", "adminlevel": "word"}
CLUSTERS: dict[str, Kind] = {"cluster": "word"}

#: What to ask sacctmgr for: the entity, a word before the format, and the columns.
QUESTIONS: dict[str, tuple[tuple[str, ...], Mapping[str, Kind]]] = {
    "clusters": (("cluster",), CLUSTERS),
    "qos": (("qos",), QOS),
    "associations": (("association",), ASSOCIATIONS),
    "accounts": (("account", "withcoordinator"), ACCOUNTS),
    "users": (("user",), USERS),
}

Table = list[dict[str, str]]


def found_state(tables: Mapping[str, Table], cluster: str) -> State:
    """Return what slurmdbd has for a cluster.

    Args:
        tables: the answers by the keys of QUESTIONS: rows of column to text.
        cluster: name of the cluster; associations with others are left out.
    """
    qos = {row["name"].lower(): _values(row, QOS) for row in tables["qos"]}
    accounts = {row["account"].lower(): _values(row, ACCOUNTS) for row in tables["accounts"]}
    users = {row["user"].lower(): _values(row, USERS) for row in tables["users"]}
    members = set()
    elsewhere = set()
    for row in tables["associations"]:
        account = row["account"].lower()
        if row["cluster"].lower() != cluster.lower():
            elsewhere.add(account)
            continue
        if row["partition"]:
            continue
        if row["user"]:
            members.add((account, row["user"].lower()))
            continue
        values = _values(row, ASSOCIATIONS)
        values["parent"] = values.pop("parentname")
        accounts.setdefault(account, {}).update(values)
    coordinators = {
        (name, user)
        for name, row in accounts.items()
        for user in _words(row.pop("coordinators", frozenset()))
    }
    return State(
        cluster=cluster.lower(),
        clusters=frozenset(row["cluster"].lower() for row in tables["clusters"]),
        qos=qos,
        accounts=accounts,
        users=users,
        members=frozenset(members),
        coordinators=frozenset(coordinators),
        elsewhere=frozenset(elsewhere),
    )


def _words(value: Value) -> Iterable[str]:
    return value if isinstance(value, frozenset) else ()


def _values(row: Mapping[str, str], kinds: Mapping[str, Kind]) -> Row:
    return {name: read_value(row.get(name, ""), kind) for name, kind in kinds.items()}


def read_value(text: str, kind: Kind) -> Value:
    """Return a column's value; what is not set is None, or an empty set."""
    text = text.strip()
    if kind == "tres":
        return _tres(text)
    if kind == "set":
        return frozenset(word.lower() for word in text.split(",") if word)
    if kind == "text":
        return text
    if text in ("", "-1", "UNLIMITED", "INFINITE"):
        return None
    if kind == "word":
        return text.lower()
    if kind == "ratio":
        return float(text)
    if kind == "seconds":
        # "00:00:00" is how no time is printed, which parse_duration_s takes for a mistake.
        return 0 if not text.strip("0:-") else parse_duration_s(text)
    return int(text) if text.isdigit() else None


def _tres(text: str) -> dict[str, int]:
    found = {}
    for item in text.split(","):
        name, cross, value = item.partition("=")
        if not cross or value == "-1":
            continue
        found[name] = parse_size_mib(value) if name == "mem" else int(value)
    return found
